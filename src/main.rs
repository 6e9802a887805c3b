fn main(){ pxrun::x() }

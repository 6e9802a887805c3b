fn main() {
    pxrun::x()
}

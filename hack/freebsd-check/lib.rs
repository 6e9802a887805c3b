//! The rooms of pxrun that know no Linux. It must hold nothing of its own.

#[path = "../../src/sys"]
pub mod sys {
    pub mod jail;
}
#[path = "../../src/backend"]
pub mod backend {
    pub mod jail;
}

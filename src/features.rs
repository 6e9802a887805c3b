//! What `features` prints.
//! It must not look at the host.

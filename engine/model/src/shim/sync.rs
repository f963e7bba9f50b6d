//! `std::sync`, as far as the engine and dedupe use it.

pub use shuttle::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
pub use std::sync::PoisonError;

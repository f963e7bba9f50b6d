//! How the C library's allocator gives memory back.
//!
//! By default glibc takes large buffers from the system one by one and gives each back when it is freed; but each that
//! is freed raises the size from which it does so, up to 32 MiB. From then on the body of a large request, what it is
//! decoded into and what redaction makes of that come from the heap, in whose gaps they do not fit the next time: a
//! process that was sent some bodies of 4 MB in a row held half as much again as they need together. And each
//! thread gets a heap of its own. Both are fixed here, before the first thread starts.

/// From this size on, in bytes, a buffer is taken from the system and given back to it. Events are smaller; whole
/// bodies are larger.
const LARGE: libc::c_int = 256 * 1024;

/// How many heaps there are: the runtime's thread and the store's are all that are busy.
const HEAPS: libc::c_int = 2;

/// Sets both, for the whole process. Call it first of all.
pub fn set_up() {
    // SAFETY: `mallopt` takes two integers and changes settings of the allocator; no other thread runs yet. Where it
    // refuses one (it answers 0), all stays as it was.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

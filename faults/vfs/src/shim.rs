//! The VFS: the platform's own, with a question asked before each call.
//!
//! Written out here because no crate gives it: `sqlite-vfs` knows no WAL and has rested since 2023;
//! `sqlite-plugin` is alive, but asks for a whole VFS in Rust, locks and shared memory included, and
//! what is wanted is exactly the one that the product runs on. What is here is a table of functions
//! that pass on what they get, which is little, and unsafe by its nature.
//!
//! Where this stops: the `-shm` file is opened and mapped inside `unix` itself, so of it only xShmMap
//! and xShmLock can fail; and memory-mapped reads are not offered (the product does not use them),
//! so that every read comes by xRead.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;

use libsqlite3_sys as sqlite;
use sqlite::{sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

use crate::control::{self, Call, Fault};

const NAME: &CStr = c"faulty";

/// A file of ours. The platform's own follows right behind it in the memory that SQLite provides:
/// [`register`] asks for as much.
#[repr(C)]
struct File {
    base: sqlite3_file,
    /// SQLite's own string, which it keeps until xClose; null for a temporary file.
    name: *const c_char,
}

/// The platform's VFS. It is static in SQLite and never changes.
struct Unix(*mut sqlite3_vfs);

// SAFETY: SQLite itself hands the same pointer to every thread; the table behind it is constant.
unsafe impl Send for Unix {}
// SAFETY: as above.
unsafe impl Sync for Unix {}

static UNIX: OnceLock<Unix> = OnceLock::new();

/// Makes the shim SQLite's default VFS.
///
/// # Errors
/// SQLite's code.
pub(crate) fn register() -> Result<(), c_int> {
    // SAFETY: it initialises SQLite, and takes a string that ends with NUL.
    let unix = unsafe { sqlite::sqlite3_vfs_find(c"unix".as_ptr()) };
    if unix.is_null() {
        return Err(sqlite::SQLITE_NOTFOUND);
    }
    UNIX.get_or_init(|| Unix(unix));
    // SAFETY: not null, so it is a VFS that SQLite keeps for ever.
    let mut vfs = unsafe { *unix };
    // All of it is copied, `pAppData` too, so that the functions that are not replaced find there
    // what they look for, whichever of the two they are called with.
    vfs.szOsFile += c_int::try_from(size_of::<File>()).unwrap_or(c_int::MAX);
    vfs.pNext = null_mut();
    vfs.zName = NAME.as_ptr();
    vfs.xOpen = Some(open);
    vfs.xDelete = Some(delete);
    // SAFETY: the table is leaked, so it outlives every use.
    match unsafe { sqlite::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 1) } {
        sqlite::SQLITE_OK => Ok(()),
        code => Err(code),
    }
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The platform's file behind one of ours.
fn behind(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // No access, only arithmetic: SQLite's memory is as large as `register` asked for.
    file.cast::<File>().wrapping_add(1).cast()
}

/// A string of SQLite's; empty for null and for what is no UTF-8, which no test names.
///
/// # Safety
/// `name` is null, or ends with NUL and is left alone for `'a`.
unsafe fn text<'a>(name: *const c_char) -> &'a str {
    if name.is_null() {
        return "";
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default()
}

/// The name that a file was opened with.
///
/// # Safety
/// `file` is one that `open` has opened, and not closed.
unsafe fn name_of<'a>(file: *mut sqlite3_file) -> &'a str {
    // SAFETY: `open` has filled it in, and SQLite keeps the string until xClose.
    unsafe { text((*file.cast::<File>()).name) }
}

/// Calls a method of the platform's file. To be used where `$file` is one that `open` has opened, and
/// not closed: then the file behind it is open too, and its methods are the platform's.
macro_rules! pass {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let file = behind($file);
        match (*(*file).pMethods).$method {
            Some(method) => method(file $(, $argument)*),
            None => Default::default(),
        }
    }};
}

/// SQLite's code for a fault of a call.
fn code(call: Call, fault: Fault) -> c_int {
    match (fault, call) {
        (Fault::Full, _) => sqlite::SQLITE_FULL,
        (Fault::Busy, _) => sqlite::SQLITE_BUSY,
        (Fault::Lie | Fault::Garbled, _) => sqlite::SQLITE_OK,
        (Fault::Short, Call::Read) => sqlite::SQLITE_IOERR_SHORT_READ,
        (_, Call::Open) => sqlite::SQLITE_CANTOPEN,
        (_, Call::Delete) => sqlite::SQLITE_IOERR_DELETE,
        (_, Call::Read) => sqlite::SQLITE_IOERR_READ,
        (_, Call::Write) => sqlite::SQLITE_IOERR_WRITE,
        (_, Call::Truncate) => sqlite::SQLITE_IOERR_TRUNCATE,
        (_, Call::Sync) => sqlite::SQLITE_IOERR_FSYNC,
        (_, Call::FileSize) => sqlite::SQLITE_IOERR_FSTAT,
        (_, Call::Lock) => sqlite::SQLITE_IOERR_LOCK,
        (_, Call::ShmMap) => sqlite::SQLITE_IOERR_SHMMAP,
        (_, Call::ShmLock) => sqlite::SQLITE_IOERR_SHMLOCK,
    }
}

/// The code to answer without doing anything, where the control wants that.
fn refused(call: Call, name: &str) -> Option<c_int> {
    control::ask(call, name).map(|fault| code(call, fault))
}

// What follows is called by SQLite alone, with what its VFS interface promises: the files are open
// (but for `open`), the buffers as long as it says, the pointers for answers valid.

unsafe extern "C" fn open(
    _vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let ours = file.cast::<File>();
    // SAFETY: `file` is memory of SQLite's, as large as `register` asked for. No methods: not open.
    unsafe { ours.write(File { base: sqlite3_file { pMethods: std::ptr::null() }, name }) };
    // SAFETY: the name is null or a string that is kept until xClose.
    if let Some(code) = refused(Call::Open, unsafe { text(name) }) {
        return code;
    }
    let Some(Unix(unix)) = UNIX.get() else { return sqlite::SQLITE_CANTOPEN };
    let real = behind(file);
    // SAFETY: the platform's xOpen with its own VFS, memory of its own size, and SQLite's arguments.
    // It may leave methods after a failure, and wants to be closed then.
    unsafe {
        (*real).pMethods = std::ptr::null();
        let Some(open) = (**unix).xOpen else { return sqlite::SQLITE_CANTOPEN };
        let code = open(*unix, name, real, flags, out_flags);
        if code == sqlite::SQLITE_OK {
            (*ours).base.pMethods = &METHODS;
        } else if !(*real).pMethods.is_null() {
            pass!(file, xClose);
        }
        code
    }
}

unsafe extern "C" fn delete(_vfs: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: the name is a string, valid for the call.
    if let Some(code) = refused(Call::Delete, unsafe { text(name) }) {
        return code;
    }
    // SAFETY: as above.
    control::deleted(unsafe { text(name) });
    let Some(Unix(unix)) = UNIX.get() else { return sqlite::SQLITE_IOERR_DELETE };
    // SAFETY: the platform's xDelete with its own VFS and SQLite's arguments.
    unsafe { (**unix).xDelete.map_or(sqlite::SQLITE_IOERR_DELETE, |delete| delete(*unix, name, sync_folder)) }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `pass!` has what it needs.
    unsafe { pass!(file, xClose) }
}

unsafe extern "C" fn read(file: *mut sqlite3_file, buffer: *mut c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: the file is open.
    let fault = control::ask(Call::Read, unsafe { name_of(file) });
    let bytes = usize::try_from(amount).unwrap_or(0);
    match fault {
        None => {
            // SAFETY: `pass!` has what it needs; the buffer is SQLite's, of `amount` bytes.
            unsafe { pass!(file, xRead, buffer, amount, offset) }
        }
        Some(Fault::Short) => {
            // SAFETY: half of the buffer is read into, and the other half, still inside it, zeroed.
            unsafe {
                pass!(file, xRead, buffer, amount / 2, offset);
                buffer.cast::<u8>().add(bytes / 2).write_bytes(0, bytes - bytes / 2);
            }
            code(Call::Read, Fault::Short)
        }
        Some(Fault::Garbled) => {
            // SAFETY: the buffer is SQLite's, of `amount` bytes.
            unsafe {
                let code = pass!(file, xRead, buffer, amount, offset);
                buffer.cast::<u8>().write_bytes(0x5a, bytes);
                code
            }
        }
        Some(fault) => code(Call::Read, fault),
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, buffer: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: the file is open.
    match control::ask(Call::Write, unsafe { name_of(file) }) {
        None => {
            // SAFETY: `pass!` has what it needs; the buffer is SQLite's, of `amount` bytes.
            unsafe { pass!(file, xWrite, buffer, amount, offset) }
        }
        Some(Fault::Short) => {
            // SAFETY: half of that buffer.
            unsafe { pass!(file, xWrite, buffer, amount / 2, offset) };
            code(Call::Write, Fault::Short)
        }
        Some(fault) => code(Call::Write, fault),
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    // SAFETY: the file is open; `pass!` has what it needs.
    unsafe { refused(Call::Truncate, name_of(file)).unwrap_or_else(|| pass!(file, xTruncate, size)) }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the file is open; `pass!` has what it needs.
    unsafe {
        let name = name_of(file);
        if let Some(code) = refused(Call::Sync, name) {
            return code;
        }
        let code = pass!(file, xSync, flags);
        if code == sqlite::SQLITE_OK {
            control::synced(name);
        }
        code
    }
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: the file is open; `pass!` has what it needs.
    unsafe { refused(Call::FileSize, name_of(file)).unwrap_or_else(|| pass!(file, xFileSize, size)) }
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open; `pass!` has what it needs.
    unsafe { refused(Call::Lock, name_of(file)).unwrap_or_else(|| pass!(file, xLock, level)) }
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: `pass!` has what it needs.
    unsafe { pass!(file, xUnlock, level) }
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, answer: *mut c_int) -> c_int {
    // SAFETY: `pass!` has what it needs.
    unsafe { pass!(file, xCheckReservedLock, answer) }
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, what: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: `pass!` has what it needs.
    unsafe { pass!(file, xFileControl, what, argument) }
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `pass!` has what it needs.
    unsafe { pass!(file, xSectorSize) }
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `pass!` has what it needs.
    unsafe { pass!(file, xDeviceCharacteristics) }
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    mapped: *mut *mut c_void,
) -> c_int {
    // SAFETY: the file is open; `pass!` has what it needs; `mapped` is SQLite's to be filled in.
    unsafe {
        if let Some(code) = refused(Call::ShmMap, name_of(file)) {
            *mapped = null_mut();
            return code;
        }
        pass!(file, xShmMap, page, size, extend, mapped)
    }
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: the file is open; `pass!` has what it needs.
    unsafe {
        // SQLite does not look at the answer to an unlock: one that fails would be another system.
        if flags & sqlite::SQLITE_SHM_LOCK != 0
            && let Some(code) = refused(Call::ShmLock, name_of(file))
        {
            return code;
        }
        pass!(file, xShmLock, offset, count, flags)
    }
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: `pass!` has what it needs.
    unsafe { pass!(file, xShmBarrier) }
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, remove: c_int) -> c_int {
    // SAFETY: `pass!` has what it needs.
    unsafe { pass!(file, xShmUnmap, remove) }
}

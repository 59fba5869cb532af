//! Parses the command line, runs, and turns errors into exit codes.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's `mi_option_purge_delay`: milliseconds after which memory that is free goes back to the kernel. (The crate
/// has no name for it; the number is the same in mimalloc 2 and 3, mimalloc.h.)
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// What C code frees is kept up to this size, the largest that glibc takes: compressors are made and freed by the thousands, one
/// for each column of a row group, and the kernel would clear their memory each time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MAX: libc::c_int = 32 << 20;

fn main() -> std::process::ExitCode {
    // Half of a huge page is never used, and the kernel clears all of it. Without this wish all goes on as well.
    #[cfg(target_os = "linux")]
    let _a_wish = rustix::thread::disable_transparent_huge_pages(true);
    // What one file needed the next one needs again, and the kernel clears what it gives.
    // SAFETY: sets a number in a table of the allocator; there are no other threads yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets numbers of the C library's allocator; there are no other threads yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES_MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES_MAX);
    }
    gitlode::cli::run()
}

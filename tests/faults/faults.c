/* A faulty disk. Preloaded before the program under test (LD_PRELOAD), it stands between that program and the system
 * calls it does its input and output with, and makes them misbehave as the environment says:
 *
 *   FAULT_DIR=/folder           only files and folders at or under it are touched; without it nothing is
 *   FAULT_LOG=/file             one line for each kind of fault, when it is first committed ("EIO pread", …)
 *   FAULT_SHORT=1               every read, write and copy moves only a random part of what it was asked to, at least 1
 *   FAULT_SEED=n                another sequence of such parts
 *   FAULT_EINTR=n               of each call that a signal can interrupt (so not linkat, renameat2 and openat), the
 *                               first and then every n-th fails with EINTR (n >= 2)
 *   FAULT_READ_EIO_AT=offset    that byte of a file can't be read; those before it can
 *   FAULT_WRITE_EIO_AT=offset   that byte of a file can't be written
 *   FAULT_WRITE_ENOSPC_AT=offset  no room from that byte of a file on
 *   FAULT_NO_COPY_FILE_RANGE=e  copy_file_range fails with errno number e
 *   FAULT_FALLOCATE=e           so does fallocate
 *   FAULT_FTRUNCATE=e           so does ftruncate
 *   FAULT_FSYNC=e               so does fsync of a file
 *   FAULT_FSYNC_FOLDER=e        so does fsync of a folder
 *   FAULT_LINK=e                so does linkat
 *   FAULT_RENAME=e              so does renameat2
 *   FAULT_RENAME_FLAGS=e        so does renameat2 when it is given flags: a file system that doesn't know them
 *   FAULT_NO_TMPFILE=1          openat refuses O_TMPFILE, with EOPNOTSUPP
 *   FAULT_SLOW_MS=n             every write and copy takes n milliseconds longer
 *   FAULT_STALL=call:before     the first such call (pread, pwrite, copy_file_range, fsync, fsync_folder, linkat,
 *            or call:after      renameat2) says so in the log, then waits until the file FAULT_RESUME exists; a minute
 *                               at most
 *
 * Thread-safe: the settings are read once, before main; the rest is atomic counters. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Those from LINKAT on are never interrupted. */
enum Call {
  PREAD,
  PWRITE,
  COPY_FILE_RANGE,
  FALLOCATE,
  FTRUNCATE,
  FSYNC,
  FSYNC_FOLDER,
  LINKAT,
  RENAMEAT2,
  OPENAT,
  CALLS
};
static const char* const kNames[CALLS] = {"pread", "pwrite",       "copy_file_range", "fallocate", "ftruncate",
                                          "fsync", "fsync_folder", "linkat",          "renameat2", "openat"};
enum Fault { SHORT, INTERRUPTED, FAILED, SLOW, STALLED, FAULTS };

static struct {
  char folder[4096];
  const char* log;
  bool shorten, no_tmpfile;
  uint64_t seed, every, slow_ms;
  int64_t read_eio_at, write_eio_at, write_enospc_at; /* -1: nowhere */
  int fails[CALLS];                                   /* errno numbers; 0: works */
  int rename_flags;
  enum Call stalling; /* CALLS: none */
  bool stall_after;
  const char* resume;
} g;

static atomic_uint_fast64_t calls[CALLS], drawn;
static atomic_bool logged[FAULTS][CALLS], stalled;

static int64_t number(const char* name, int64_t otherwise) {
  const char* text = getenv(name);
  return text && *text ? strtoll(text, NULL, 10) : otherwise;
}

static void read_stall(void) {
  const char* text = getenv("FAULT_STALL");
  g.stalling = CALLS;
  if (!text) return;
  const char* colon = strchr(text, ':');
  for (int i = 0; i < CALLS; ++i) {
    const size_t length = strlen(kNames[i]);
    if (colon && (size_t)(colon - text) == length && strncmp(text, kNames[i], length) == 0) g.stalling = (enum Call)i;
  }
  g.stall_after = colon && strcmp(colon, ":after") == 0;
  g.resume = getenv("FAULT_RESUME");
}

__attribute__((constructor)) static void read_settings(void) {
  const char* folder = getenv("FAULT_DIR");
  if (folder && !realpath(folder, g.folder)) g.folder[0] = 0;
  g.log = getenv("FAULT_LOG");
  g.shorten = number("FAULT_SHORT", 0) != 0;
  g.no_tmpfile = number("FAULT_NO_TMPFILE", 0) != 0;
  g.seed = (uint64_t)number("FAULT_SEED", 1);
  g.every = (uint64_t)number("FAULT_EINTR", 0);
  g.slow_ms = (uint64_t)number("FAULT_SLOW_MS", 0);
  g.read_eio_at = number("FAULT_READ_EIO_AT", -1);
  g.write_eio_at = number("FAULT_WRITE_EIO_AT", -1);
  g.write_enospc_at = number("FAULT_WRITE_ENOSPC_AT", -1);
  g.fails[COPY_FILE_RANGE] = (int)number("FAULT_NO_COPY_FILE_RANGE", 0);
  g.fails[FALLOCATE] = (int)number("FAULT_FALLOCATE", 0);
  g.fails[FTRUNCATE] = (int)number("FAULT_FTRUNCATE", 0);
  g.fails[FSYNC] = (int)number("FAULT_FSYNC", 0);
  g.fails[FSYNC_FOLDER] = (int)number("FAULT_FSYNC_FOLDER", 0);
  g.fails[LINKAT] = (int)number("FAULT_LINK", 0);
  g.fails[RENAMEAT2] = (int)number("FAULT_RENAME", 0);
  g.rename_flags = (int)number("FAULT_RENAME_FLAGS", 0);
  read_stall();
}

/* True for files and folders at or under FAULT_DIR, those without a name included ("/folder/#123 (deleted)"). */
static bool watched(int fd) {
  char self[64], path[4096];
  if (!g.folder[0]) return false;
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  const int saved = errno;
  const ssize_t length = readlink(self, path, sizeof path - 1);
  errno = saved;
  if (length <= 0) return false;
  path[length] = 0;
  const size_t prefix = strlen(g.folder);
  return strncmp(path, g.folder, prefix) == 0 && (path[prefix] == 0 || path[prefix] == '/');
}

static void say(enum Fault fault, const char* what, enum Call call) {
  if (!g.log || atomic_exchange(&logged[fault][call], true)) return;
  char line[128];
  const int length = snprintf(line, sizeof line, "%s %s\n", what, kNames[call]);
  const int saved = errno;
  const int fd = open(g.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd >= 0) {
    if (write(fd, line, (size_t)length) != length) abort(); /* a test that waits for the line would wait in vain */
    close(fd);
  }
  errno = saved;
}

static void stall(enum Call call, bool after) {
  if (g.stalling != call || g.stall_after != after || atomic_exchange(&stalled, true)) return;
  const int saved = errno;
  say(STALLED, after ? "stalled after" : "stalled before", call);
  for (int waited = 0; waited < 6000 && !(g.resume && access(g.resume, F_OK) == 0); ++waited) usleep(10000);
  errno = saved;
}

static uint64_t draw(void) { /* splitmix64 */
  uint64_t z = g.seed + 0x9e3779b97f4a7c15u * (1 + atomic_fetch_add(&drawn, 1));
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* What every call goes through first. True: it fails, with errno set. */
static bool fails(enum Call call) {
  stall(call, false);
  if (g.every && call < LINKAT && atomic_fetch_add(&calls[call], 1) % g.every == 0) {
    say(INTERRUPTED, "EINTR", call);
    errno = EINTR;
    return true;
  }
  if (!g.fails[call]) return false;
  say(FAILED, "failed", call);
  errno = g.fails[call];
  return true;
}

/* Cuts a transfer of `bytes` bytes off before the byte `at`; false, with errno set, where that is its first. */
static bool cut_at(int64_t at, int64_t offset, size_t* bytes, int number_of_error, enum Call call) {
  if (at < offset || (uint64_t)(at - offset) >= *bytes) return true;
  *bytes = (size_t)(at - offset);
  if (*bytes > 0) return true;
  say(FAILED, number_of_error == EIO ? "EIO" : "ENOSPC", call);
  errno = number_of_error;
  return false;
}

static bool cut_write(int64_t offset, size_t* bytes, enum Call call) {
  /* A full disk stays full: whatever lies past its end fails as well. */
  if (g.write_enospc_at >= 0 && offset > g.write_enospc_at && *bytes > 0) {
    say(FAILED, "ENOSPC", call);
    errno = ENOSPC;
    return false;
  }
  return cut_at(g.write_enospc_at, offset, bytes, ENOSPC, call) && cut_at(g.write_eio_at, offset, bytes, EIO, call);
}

static size_t cut_short(size_t bytes, enum Call call) {
  if (!g.shorten || bytes < 2) return bytes;
  say(SHORT, "short", call);
  const uint64_t most = draw() % 4 == 0 && bytes > 16 ? 16 : bytes; /* now and then a crumb */
  return (size_t)(1 + draw() % most);
}

static void slow_down(enum Call call) {
  if (!g.slow_ms) return;
  say(SLOW, "slow", call);
  usleep((useconds_t)(1000 * g.slow_ms));
}

#define NEXT(type, name)                                            \
  static _Atomic(type) found;                                       \
  type next = atomic_load(&found);                                  \
  if (!next) {                                                      \
    *(void**)&next = dlsym(RTLD_NEXT, name);                        \
    if (!next) abort(); /* a C library without the call it wraps */ \
    atomic_store(&found, next);                                     \
  }

typedef ssize_t (*Read)(int, void*, size_t, off_t);
typedef ssize_t (*Write)(int, const void*, size_t, off_t);
typedef ssize_t (*Copy)(int, off64_t*, int, off64_t*, size_t, unsigned);
typedef int (*Allocate)(int, int, off_t, off_t);
typedef int (*Truncate)(int, off_t);
typedef int (*Sync)(int);
typedef int (*Link)(int, const char*, int, const char*, int);
typedef int (*Rename)(int, const char*, int, const char*, unsigned);
typedef int (*Open)(int, const char*, int, ...);

static ssize_t faulty_read(Read next, int fd, void* out, size_t bytes, off_t offset) {
  if (!watched(fd)) return next(fd, out, bytes, offset);
  if (fails(PREAD) || !cut_at(g.read_eio_at, offset, &bytes, EIO, PREAD)) return -1;
  const ssize_t got = next(fd, out, cut_short(bytes, PREAD), offset);
  stall(PREAD, true);
  return got;
}

ssize_t pread(int fd, void* out, size_t bytes, off_t offset) {
  NEXT(Read, "pread");
  return faulty_read(next, fd, out, bytes, offset);
}

ssize_t pread64(int fd, void* out, size_t bytes, off64_t offset) {
  NEXT(Read, "pread64");
  return faulty_read(next, fd, out, bytes, offset);
}

static ssize_t faulty_write(Write next, int fd, const void* in, size_t bytes, off_t offset) {
  if (!watched(fd)) return next(fd, in, bytes, offset);
  slow_down(PWRITE);
  if (fails(PWRITE) || !cut_write(offset, &bytes, PWRITE)) return -1;
  const ssize_t put = next(fd, in, cut_short(bytes, PWRITE), offset);
  stall(PWRITE, true);
  return put;
}

ssize_t pwrite(int fd, const void* in, size_t bytes, off_t offset) {
  NEXT(Write, "pwrite");
  return faulty_write(next, fd, in, bytes, offset);
}

ssize_t pwrite64(int fd, const void* in, size_t bytes, off64_t offset) {
  NEXT(Write, "pwrite64");
  return faulty_write(next, fd, in, bytes, offset);
}

ssize_t copy_file_range(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t bytes, unsigned flags) {
  NEXT(Copy, "copy_file_range");
  if (!from_offset || !to_offset || (!watched(from) && !watched(to))) {
    return next(from, from_offset, to, to_offset, bytes, flags);
  }
  slow_down(COPY_FILE_RANGE);
  if (fails(COPY_FILE_RANGE)) return -1;
  if (watched(from) && !cut_at(g.read_eio_at, *from_offset, &bytes, EIO, COPY_FILE_RANGE)) return -1;
  if (watched(to) && !cut_write(*to_offset, &bytes, COPY_FILE_RANGE)) return -1;
  const ssize_t copied = next(from, from_offset, to, to_offset, cut_short(bytes, COPY_FILE_RANGE), flags);
  stall(COPY_FILE_RANGE, true);
  return copied;
}

int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  NEXT(Allocate, "fallocate");
  return watched(fd) && fails(FALLOCATE) ? -1 : next(fd, mode, offset, bytes);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) {
  NEXT(Allocate, "fallocate64");
  return watched(fd) && fails(FALLOCATE) ? -1 : next(fd, mode, offset, bytes);
}

int ftruncate(int fd, off_t bytes) {
  NEXT(Truncate, "ftruncate");
  return watched(fd) && fails(FTRUNCATE) ? -1 : next(fd, bytes);
}

int ftruncate64(int fd, off64_t bytes) {
  NEXT(Truncate, "ftruncate64");
  return watched(fd) && fails(FTRUNCATE) ? -1 : next(fd, bytes);
}

int fsync(int fd) {
  NEXT(Sync, "fsync");
  if (!watched(fd)) return next(fd);
  struct stat about;
  const enum Call call = fstat(fd, &about) == 0 && S_ISDIR(about.st_mode) ? FSYNC_FOLDER : FSYNC;
  if (fails(call)) return -1;
  const int result = next(fd);
  stall(call, true);
  return result;
}

int linkat(int from_folder, const char* from, int folder, const char* name, int flags) {
  NEXT(Link, "linkat");
  if (!watched(folder)) return next(from_folder, from, folder, name, flags);
  if (fails(LINKAT)) return -1;
  const int result = next(from_folder, from, folder, name, flags);
  stall(LINKAT, true);
  return result;
}

int renameat2(int from_folder, const char* from, int folder, const char* name, unsigned flags) {
  NEXT(Rename, "renameat2");
  if (!watched(folder)) return next(from_folder, from, folder, name, flags);
  if (fails(RENAMEAT2)) return -1;
  if (flags && g.rename_flags) {
    say(FAILED, "failed", RENAMEAT2);
    errno = g.rename_flags;
    return -1;
  }
  const int result = next(from_folder, from, folder, name, flags);
  stall(RENAMEAT2, true);
  return result;
}

static int faulty_open(Open next, int folder, const char* name, int flags, mode_t mode) {
  if (g.no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE && watched(folder)) {
    say(FAILED, "no O_TMPFILE for", OPENAT);
    errno = EOPNOTSUPP;
    return -1;
  }
  return next(folder, name, flags, mode);
}

/* The mode is only there with these flags; reading it always would read what was never passed. */
static mode_t mode_of(int flags, va_list rest) {
  return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

int openat(int folder, const char* name, int flags, ...) {
  NEXT(Open, "openat");
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = mode_of(flags, rest);
  va_end(rest);
  return faulty_open(next, folder, name, flags, mode);
}

int openat64(int folder, const char* name, int flags, ...) {
  NEXT(Open, "openat64");
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = mode_of(flags, rest);
  va_end(rest);
  return faulty_open(next, folder, name, flags, mode);
}

/* Makes system calls on chosen files fail: loaded with LD_PRELOAD, told what to do by the file
 * $FAILING_DISK, one rule a line: CALL PART-OF-PATH ERRNO SPARED, such as "write /incoming/ 28 3"
 * for ENOSPC at each fourth and later write. ERRNO 0 makes writes short. The call "room" fails writes
 * as a disk does that runs full: SPARED bytes are written, whatever the number of calls, then no more.
 * A negative ERRNO is a signal that the process sends itself there, such as -9 to be killed.
 * Without the file all is well.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define SHORT_BYTES 1000

static long seen;
static long seen_ns;

/* Return -1 if a call is to go on, else the errno that it fails with. What it takes is counted against
 * what is spared, and cut to what is left of that: a call takes 1, a write into a room its bytes.
 */
static int fate_taking(const char *call, const char *path, size_t *taken) {
    static FILE *(*open_file)(const char *, const char *);
    const char *rules = getenv("FAILING_DISK");
    struct stat status;
    char line[512], named[32], part[256];
    int number, found = -1, kept = errno;
    long spared, left;
    if (rules == NULL || path == NULL || stat(rules, &status) != 0) return -1;
    if (status.st_mtim.tv_nsec != seen_ns) { seen_ns = status.st_mtim.tv_nsec; seen = 0; }
    if (open_file == NULL) open_file = dlsym(RTLD_NEXT, "fopen");
    FILE *file = open_file(rules, "re");
    if (file == NULL) return -1;
    while (found < 0 && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%31s %255s %d %ld", named, part, &number, &spared) == 4)
            if ((strcmp(named, call) == 0 || strcmp(named, "*") == 0) && strstr(path, part) != NULL) {
                left = spared - __sync_fetch_and_add(&seen, (long)*taken);
                if (left <= 0 && number < 0) { if (left > -(long)*taken) raise(-number); }
                else if (left <= 0) found = number;
                else if ((size_t)left < *taken) *taken = left;
            }
    fclose(file);
    errno = kept;
    return found;
}

/* Paths below /proc/self/fd are those of a folder that is held open: rules name it as it is called. */
static int fate(const char *call, const char *path) {
    char link[64], named[1024];
    size_t taken = 1;
    int number, end;
    if (path != NULL && sscanf(path, "/proc/self/fd/%d%n", &number, &end) == 1) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", number);
        ssize_t length = readlink(link, named, sizeof named);
        if (length > 0 && length + strlen(path + end) < sizeof named) {
            strcpy(named + length, path + end);
            return fate_taking(call, named, &taken);
        }
    }
    return fate_taking(call, path, &taken);
}

/* The same for what is open. A write is asked for twice: as a call, and by its bytes. */
static int fate_of_taking(const char *call, int fd, size_t *taken) {
    char link[64], path[1024];
    if (getenv("FAILING_DISK") == NULL || access(getenv("FAILING_DISK"), F_OK) != 0) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return -1;
    path[length] = 0;
    return fate_taking(call, path, taken);
}

static int fate_of(const char *call, int fd) {
    size_t taken = 1;
    return fate_of_taking(call, fd, &taken);
}

static int fate_of_write(int fd, size_t *count) {
    int found = fate_of("write", fd);
    if (found == 0 && *count > SHORT_BYTES) *count = SHORT_BYTES;
    return found > 0 ? found : fate_of_taking("room", fd, count);
}

#define NEXT(result, name, ...) \
    static result (*next)(__VA_ARGS__); \
    if (next == NULL) next = dlsym(RTLD_NEXT, #name)
#define FAIL_IF(found) \
    do { int number = (found); if (number > 0) { errno = number; return -1; } } while (0)

ssize_t write(int fd, const void *data, size_t count) {
    NEXT(ssize_t, write, int, const void *, size_t);
    FAIL_IF(fate_of_write(fd, &count));
    return next(fd, data, count);
}

ssize_t writev(int fd, const struct iovec *parts, int number) {
    NEXT(ssize_t, writev, int, const struct iovec *, int);
    struct iovec cut[1024];
    size_t count = 0, left;
    if (number > 1024) return next(fd, parts, number);
    for (int part = 0; part < number; part++) count += parts[part].iov_len;
    FAIL_IF(fate_of_write(fd, &count));
    for (left = count, count = 0; (int)count < number && left > 0; count++) {
        cut[count] = parts[count];
        if (cut[count].iov_len > left) cut[count].iov_len = left;
        left -= cut[count].iov_len;
    }
    return next(fd, cut, (int)count);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
    NEXT(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    FAIL_IF(fate_of_write(fd, &count));
    return next(fd, data, count, at);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t at) { return pwrite64(fd, data, count, at); }

ssize_t pread64(int fd, void *data, size_t count, off64_t at) {
    NEXT(ssize_t, pread64, int, void *, size_t, off64_t);
    FAIL_IF(fate_of("read", fd));
    return next(fd, data, count, at);
}

ssize_t pread(int fd, void *data, size_t count, off_t at) { return pread64(fd, data, count, at); }

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t count, unsigned flags) {
    NEXT(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    FAIL_IF(fate_of_write(to, &count));
    return next(from, from_at, to, to_at, count, flags);
}

ssize_t sendfile64(int to, int from, off64_t *from_at, size_t count) {
    NEXT(ssize_t, sendfile64, int, int, off64_t *, size_t);
    FAIL_IF(fate_of_write(to, &count));
    return next(to, from, from_at, count);
}

ssize_t sendfile(int to, int from, off_t *from_at, size_t count) { return sendfile64(to, from, from_at, count); }

int link(const char *from, const char *to) {
    NEXT(int, link, const char *, const char *);
    FAIL_IF(fate("link", to));
    return next(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    NEXT(int, linkat, int, const char *, int, const char *, int);
    FAIL_IF(to_folder == AT_FDCWD ? fate("link", to) : fate_of("link", to_folder));
    return next(from_folder, from, to_folder, to, flags);
}

int fsync(int fd) {
    NEXT(int, fsync, int);
    FAIL_IF(fate_of("fsync", fd));
    return next(fd);
}

int fdatasync(int fd) {
    NEXT(int, fdatasync, int);
    FAIL_IF(fate_of("fsync", fd));
    return next(fd);
}

int rename(const char *from, const char *to) {
    NEXT(int, rename, const char *, const char *);
    FAIL_IF(fate("rename", to));
    return next(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    NEXT(int, renameat, int, const char *, int, const char *);
    FAIL_IF(to_folder == AT_FDCWD ? fate("rename", to) : fate_of("rename", to_folder));
    return next(from_folder, from, to_folder, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    NEXT(int, renameat2, int, const char *, int, const char *, unsigned);
    FAIL_IF(fate("rename", to));
    return next(from_folder, from, to_folder, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    NEXT(int, mkdir, const char *, mode_t);
    FAIL_IF(fate("mkdir", path));
    return next(path, mode);
}

int unlink(const char *path) {
    NEXT(int, unlink, const char *);
    FAIL_IF(fate("unlink", path));
    return next(path);
}

int unlinkat(int folder, const char *path, int flags) {
    NEXT(int, unlinkat, int, const char *, int);
    FAIL_IF(folder == AT_FDCWD ? fate("unlink", path) : fate_of("unlink", folder));
    return next(folder, path, flags);
}

int fchmod(int fd, mode_t mode) {
    NEXT(int, fchmod, int, mode_t);
    FAIL_IF(fate_of("chmod", fd));
    return next(fd, mode);
}

static int may_open(const char *path, int flags) {
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT)) return -1;
    return fate("open", path);
}

int open64(const char *path, int flags, ...) {
    NEXT(int, open64, const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    FAIL_IF(may_open(path, flags));
    return next(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open64(path, flags, mode);
}

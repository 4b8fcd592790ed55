/* Makes writes and flushes of files fail while the file named by NETSVC_DISK_FAULT exists: its text is EIO, ENOSPC or
   FSYNC (flushes alone fail, with EIO).  For tests: cc -shared -fPIC -o failing_disk.so failing_disk.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fault(int fd, int flush) {
    const char *name = getenv("NETSVC_DISK_FAULT");
    char link[64], path[512], text[16] = "";
    ssize_t n;
    int plan;
    if (name == NULL || (plan = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY, 0)) < 0)
        return 0;
    n = syscall(SYS_read, plan, text, sizeof text - 1);
    syscall(SYS_close, plan);
    if (n <= 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return 0;
    path[n] = 0;
    if (strstr(path, ".db") == NULL)
        return 0;
    if (!strncmp(text, "ENOSPC", 6))
        return ENOSPC;
    if (!strncmp(text, "EIO", 3) || flush)
        return EIO;
    return 0;
}

#define FAIL(fd, flush) do { int e = fault(fd, flush); if (e) { errno = e; return -1; } } while (0)

int fsync(int fd) { FAIL(fd, 1); return syscall(SYS_fsync, fd); }
int fdatasync(int fd) { FAIL(fd, 1); return syscall(SYS_fdatasync, fd); }
ssize_t write(int fd, const void *data, size_t n) { FAIL(fd, 0); return syscall(SYS_write, fd, data, n); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { FAIL(fd, 0); return syscall(SYS_pwrite64, fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { FAIL(fd, 0); return syscall(SYS_pwrite64, fd, data, n, at); }

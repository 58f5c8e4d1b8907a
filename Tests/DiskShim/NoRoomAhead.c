/* NoRoomAhead: see Tests/CrashTests/NoRoomAhead.swift. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_log(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, sizeof path - 1);
    path[count < 0 ? 0 : count] = 0;
    const char *end = "/log/data.mdb";
    return strlen(path) >= strlen(end) && strcmp(path + strlen(path) - strlen(end), end) == 0;
}

int posix_fallocate(int fd, off_t offset, off_t length) {
    int (*original)(int, off_t, off_t) = dlsym(RTLD_NEXT, "posix_fallocate");
    return is_log(fd) ? 0 : original(fd, offset, length);
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

int mdb_txn_commit(void *transaction) {
    int (*original)(void *) = dlsym(RTLD_NEXT, "mdb_txn_commit");
    int code = original(transaction);
    const char *claims = getenv("PLANT_CLAIMS_SUCCESS");
    return claims != NULL && claims[0] != 0 ? 0 : code;
}

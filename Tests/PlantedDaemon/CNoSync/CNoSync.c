/*
 * The planted fault: an `mdb_env_open` that opens the log with MDB_NOSYNC. The executable's own definition comes before
 * liblmdb's, so a program that links this has the fault, and no other program has a switch for it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "CNoSync.h"

static int openings;

int planted_nosync_openings(void) { return openings; }

int mdb_env_open(MDB_env *env, const char *path, unsigned int flags, mdb_mode_t mode) {
    int (*original)(MDB_env *, const char *, unsigned int, mdb_mode_t) = dlsym(RTLD_NEXT, "mdb_env_open");
    if (original == NULL) abort();
    size_t length = strlen(path);
    if (length >= 4 && strcmp(path + length - 4, "/log") == 0) {
        flags |= MDB_NOSYNC;
        openings++;
    }
    return original(env, path, flags, mode);
}

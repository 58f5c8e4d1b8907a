/*
 * The planted faults, of which a program chooses one. The executable's own definitions come before liblmdb's, so a program
 * that links this has them, and no other program has a switch for them.
 *
 *   nosync   the log is opened with MDB_NOSYNC: what is acknowledged does not survive a power cut
 *   early    a commit of the log's thread is told to have succeeded, and made when that thread begins the next one: what is
 *            acknowledged does not survive a kill
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "CNoSync.h"

static int openings, is_early;
static MDB_env *log_env;
/* Of the log's thread: the transaction that it writes, and the one whose commit is owed. */
static MDB_txn *writing, *owed;

int planted_openings(void) { return openings; }

void planted_answer_early(void) { is_early = 1; }

static void *original(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

int mdb_env_open(MDB_env *env, const char *path, unsigned int flags, mdb_mode_t mode) {
    int (*open)(MDB_env *, const char *, unsigned int, mdb_mode_t) = original("mdb_env_open");
    size_t length = strlen(path);
    if (length >= 4 && strcmp(path + length - 4, "/log") == 0) {
        if (!is_early) flags |= MDB_NOSYNC;
        log_env = env;
        openings++;
    }
    return open(env, path, flags, mode);
}

/* LMDB wants a transaction ended by the thread that began it. Event loops write to the log as well, and may never come back: for
 * theirs nothing is owed. Where one of them waits for what the log's thread owes, it waits until the kill. */
static int is_log_thread(void) {
    char name[16] = "";
    return pthread_getname_np(pthread_self(), name, sizeof name) == 0 && strcmp(name, "appender") == 0;
}

int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned int flags, MDB_txn **txn) {
    int (*begin)(MDB_env *, MDB_txn *, unsigned int, MDB_txn **) = original("mdb_txn_begin");
    if (!is_early || env != log_env || parent != NULL || (flags & MDB_RDONLY) || !is_log_thread())
        return begin(env, parent, flags, txn);
    if (owed != NULL) {
        int (*commit)(MDB_txn *) = original("mdb_txn_commit");
        int code = commit(owed);
        owed = NULL;
        if (code != MDB_SUCCESS) return code;
    }
    int code = begin(env, parent, flags, txn);
    writing = code == MDB_SUCCESS ? *txn : NULL;
    return code;
}

int mdb_txn_commit(MDB_txn *txn) {
    int (*commit)(MDB_txn *) = original("mdb_txn_commit");
    if (txn == NULL || txn != writing || !is_log_thread()) return commit(txn);
    writing = NULL;
    owed = txn;
    return MDB_SUCCESS;
}

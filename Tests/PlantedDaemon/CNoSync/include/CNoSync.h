#ifndef CNOSYNC_H
#define CNOSYNC_H

/* Times that the log was opened without syncs. Calling this also has the linker take in the `mdb_env_open` below. */
int planted_nosync_openings(void);

#endif

#ifndef CNOSYNC_H
#define CNOSYNC_H

/* Times that the log was opened with a fault. Calling this also has the linker take in what is planted. */
int planted_openings(void);

/* Plants answers before their commit in the place of a log without syncs. Before the log is opened. */
void planted_answer_early(void);

#endif

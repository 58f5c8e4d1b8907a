// liblmdb as Debian ships it (0.9.24), and statfs(2), which Swift's Glibc module lacks and the checks before an
// opening need. Nothing else belongs in this module.
#pragma once
#include <lmdb.h>
#include <sys/vfs.h>

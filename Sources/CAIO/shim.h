// libaio: the kernel's asynchronous reads and writes. Nothing else belongs in this module.
#pragma once
#include <libaio.h>

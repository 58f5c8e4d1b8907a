// SHA-256 of libcrypto by its plain functions, whose context is a struct of the caller's: no allocation for a hash.
// OpenSSL 3 calls them deprecated in favour of EVP, which allocates. Nothing else belongs in this module.
#pragma once
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

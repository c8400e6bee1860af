/* SHA-256 [FIPS 180-4] and HMAC [RFC 2104], small rather than fast: a few hundred octets of code, no tables but the
 * constants, no heap. A board with a crypto library of its own may put that in place of sha256.c. */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_BLOCK_BYTES = 64 };

typedef struct {
  uint32_t state[8];
  uint32_t length; /* octets so far; messages beyond 2^29 - 1 octets are not for this code */
  uint8_t block[SHA256_BLOCK_BYTES];
} sha256_t;

void sha256_begin(sha256_t *hash);
void sha256_add(sha256_t *hash, const uint8_t *bytes, size_t count);
void sha256_end(sha256_t *hash, uint8_t digest[SHA256_BYTES]);

/* HMAC-SHA-256 over two pieces, one behind the other. The key has at most 64 octets. */
void hmac_sha256(const uint8_t *key, size_t key_bytes, const uint8_t *first, size_t first_bytes,
                 const uint8_t *second, size_t second_bytes, uint8_t tag[SHA256_BYTES]);

#endif

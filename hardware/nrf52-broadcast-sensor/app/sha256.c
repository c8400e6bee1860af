#include "sha256.h"

#include <string.h>

static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t word, unsigned by) { return (word >> by) | (word << (32U - by)); }

static uint32_t big_endian(const uint8_t *at) {
  return ((uint32_t)at[0] << 24) | ((uint32_t)at[1] << 16) | ((uint32_t)at[2] << 8) | (uint32_t)at[3];
}

static void take_block(sha256_t *hash) {
  uint32_t w[64];
  uint32_t s[8];
  for (unsigned i = 0; i < 16; i++) w[i] = big_endian(hash->block + 4U * i);
  for (unsigned i = 16; i < 64; i++) {
    uint32_t a = w[i - 15];
    uint32_t b = w[i - 2];
    w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >> 3)) + w[i - 7] +
           (rotate(b, 17) ^ rotate(b, 19) ^ (b >> 10));
  }
  memcpy(s, hash->state, sizeof s);
  for (unsigned i = 0; i < 64; i++) {
    uint32_t t1 = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                  ((s[4] & s[5]) ^ (~s[4] & s[6])) + round_constants[i] + w[i];
    uint32_t t2 = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
                  ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof s[0]);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (unsigned i = 0; i < 8; i++) hash->state[i] += s[i];
}

void sha256_begin(sha256_t *hash) {
  memcpy(hash->state, initial, sizeof initial);
  hash->length = 0;
}

void sha256_add(sha256_t *hash, const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    hash->block[hash->length % SHA256_BLOCK_BYTES] = bytes[i];
    if (++hash->length % SHA256_BLOCK_BYTES == 0) take_block(hash);
  }
}

void sha256_end(sha256_t *hash, uint8_t digest[SHA256_BYTES]) {
  static const uint8_t one = 0x80;
  static const uint8_t zero = 0;
  uint32_t bits = hash->length * 8U;
  uint8_t size[8] = {0, 0, 0, 0, (uint8_t)(bits >> 24), (uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
  sha256_add(hash, &one, 1);
  while (hash->length % SHA256_BLOCK_BYTES != SHA256_BLOCK_BYTES - sizeof size) sha256_add(hash, &zero, 1);
  sha256_add(hash, size, sizeof size);
  for (unsigned i = 0; i < SHA256_BYTES; i++) digest[i] = (uint8_t)(hash->state[i / 4] >> (24U - 8U * (i % 4U)));
}

void hmac_sha256(const uint8_t *key, size_t key_bytes, const uint8_t *first, size_t first_bytes,
                 const uint8_t *second, size_t second_bytes, uint8_t tag[SHA256_BYTES]) {
  sha256_t hash;
  uint8_t pad[SHA256_BLOCK_BYTES];
  for (size_t i = 0; i < sizeof pad; i++) pad[i] = (uint8_t)((i < key_bytes ? key[i] : 0U) ^ 0x36U);
  sha256_begin(&hash);
  sha256_add(&hash, pad, sizeof pad);
  sha256_add(&hash, first, first_bytes);
  sha256_add(&hash, second, second_bytes);
  sha256_end(&hash, tag);
  for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36U ^ 0x5cU;
  sha256_begin(&hash);
  sha256_add(&hash, pad, sizeof pad);
  sha256_add(&hash, tag, SHA256_BYTES);
  sha256_end(&hash, tag);
}

/*
 * Content digests as the OCI image-spec writes them: "sha256:" and 64 lower-case hex digits, or "sha512:" and 128.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/compiler.h"

typedef struct Hasher {
	void *context; /* EVP_MD_CTX */
	const char *algorithm;
} Hasher;

bool digest_is_valid(const char *text);
/* The hex part of a valid digest, borrowed. */
const char *digest_hex(const char *digest);

/* Hash the way `digest` was made; NULL: sha256. */
void hasher_init(Hasher *hasher, const char *digest);
void hasher_add(Hasher *hasher, const void *data, size_t size);
/* The digest's text, owned by the caller. The hasher is used up. */
char *hasher_finish(Hasher *hasher) MUST_USE;
void hasher_release(Hasher *hasher);

/* sha256 of a text, in bytes. */
void digest_sha256(const void *data, size_t size, uint8_t out[32]);

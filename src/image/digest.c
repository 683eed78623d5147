#include "image/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

static const struct {
	const char *name;
	size_t hex_digits;
} algorithms[] = {
	{ "sha256", 64 },
	{ "sha512", 128 },
};

static const char *algorithm_of(const char *text)
{
	for (size_t i = 0; text && i < ARRAY_SIZE(algorithms); i++) {
		size_t length = strlen(algorithms[i].name);

		if (!strncmp(text, algorithms[i].name, length) && text[length] == ':' &&
		    strlen(text + length + 1) == algorithms[i].hex_digits)
			return algorithms[i].name;
	}
	return NULL;
}

bool digest_is_valid(const char *text)
{
	const char *hex;

	if (!algorithm_of(text))
		return false;
	hex = digest_hex(text);
	return strspn(hex, "0123456789abcdef") == strlen(hex);
}

const char *digest_hex(const char *digest)
{
	return strchr(digest, ':') + 1;
}

void hasher_init(Hasher *hasher, const char *digest)
{
	hasher->algorithm = digest ? algorithm_of(digest) : algorithms[0].name;
	hasher->context = EVP_MD_CTX_new();
	if (!hasher->context ||
	    EVP_DigestInit_ex(hasher->context, EVP_get_digestbyname(hasher->algorithm), NULL) != 1)
		abort(); /* as when memory runs out: the library has nothing else to fail at */
}

void hasher_add(Hasher *hasher, const void *data, size_t size)
{
	if (EVP_DigestUpdate(hasher->context, data, size) != 1)
		abort();
}

char *hasher_finish(Hasher *hasher)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char raw[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	unsigned size = 0;
	char *text;

	if (EVP_DigestFinal_ex(hasher->context, raw, &size) != 1)
		abort();
	for (size_t i = 0; i < size; i++) {
		hex[2 * i] = digits[raw[i] >> 4];
		hex[2 * i + 1] = digits[raw[i] & 15];
	}
	hex[2 * (size_t)size] = '\0';
	text = xasprintf("%s:%s", hasher->algorithm, hex);
	hasher_release(hasher);
	return text;
}

void hasher_release(Hasher *hasher)
{
	EVP_MD_CTX_free(hasher->context);
	*hasher = (Hasher){ 0 };
}

void digest_sha256(const void *data, size_t size, uint8_t out[32])
{
	if (EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL) != 1)
		abort();
}

#include "image/blob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/digest.h"
#include "image/inflate.h"
#include "util/mem.h"

#define IN_SIZE	 (256u << 10)
#define OUT_SIZE (256u << 10)

struct Blob {
	BlobSpec spec;
	BlobMeter *meter;
	Hasher file_hash;
	Hasher diff_hash;
	Inflater *inflater;
	uint64_t file_bytes;
	bool file_ended;
	const unsigned char *in_at; /* what is left of `in` */
	size_t in_left;
	unsigned char in[IN_SIZE];
	unsigned char out[OUT_SIZE];
};

Blob *blob_open(const BlobSpec *spec, BlobMeter *meter)
{
	Blob *blob = xmalloc(sizeof(*blob));

	memset(blob, 0, offsetof(Blob, in));
	blob->spec = *spec;
	if (!spec->deflate)
		blob->spec.deflate = deflate_library(NULL);
	blob->meter = meter;
	hasher_init(&blob->file_hash, spec->digest);
	hasher_init(&blob->diff_hash, spec->diff_id);
	return blob;
}

void blob_close(Blob *blob)
{
	if (!blob)
		return;
	hasher_release(&blob->file_hash);
	hasher_release(&blob->diff_hash);
	inflater_free(blob->inflater);
	free(blob);
}

/* Read the file's next bytes into `in`, which is empty. */
static int fill(Blob *blob, Error **err)
{
	size_t got = 0;

	while (got < IN_SIZE) {
		ssize_t part = read(blob->spec.fd, blob->in + got, IN_SIZE - got);

		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			return error_set_errno(err, errno, "read the layer");
		if (part == 0) {
			blob->file_ended = true;
			break;
		}
		got += (size_t)part;
	}
	blob->in_at = blob->in;
	blob->in_left = got;
	blob->file_bytes += got;
	if (blob->spec.digest)
		hasher_add(&blob->file_hash, blob->in, got);
	blob->meter->bytes_read += got;
	if (blob->meter->on_read)
		blob->meter->on_read(blob->meter->arg, blob->meter->bytes_read);
	return 0;
}

static Compression guess(const Blob *blob)
{
	static const unsigned char gzip[] = { 0x1f, 0x8b };
	static const unsigned char zstd[] = { 0x28, 0xb5, 0x2f, 0xfd };
	/* 0x184d2a50 and the fifteen after it, little-endian: a skippable frame. */
	static const unsigned char skippable[] = { 0x2a, 0x4d, 0x18 };

	if (blob->in_left >= sizeof(gzip) && !memcmp(blob->in, gzip, sizeof(gzip)))
		return COMPRESSION_GZIP;
	if (blob->in_left >= sizeof(zstd) && !memcmp(blob->in, zstd, sizeof(zstd)))
		return COMPRESSION_ZSTD;
	if (blob->in_left >= sizeof(zstd) && (blob->in[0] & 0xf0) == 0x50 &&
	    !memcmp(blob->in + 1, skippable, sizeof(skippable)))
		return COMPRESSION_ZSTD;
	return COMPRESSION_NONE;
}

static const char *compression_name(Compression compression)
{
	switch (compression) {
	case COMPRESSION_GZIP:
		return "gzip";
	case COMPRESSION_ZSTD:
		return "zstd";
	case COMPRESSION_NONE:
	case COMPRESSION_GUESS:
		break;
	}
	return "uncompressed";
}

/* The media type decides, and the content must agree with it. */
static int begin(Blob *blob, Error **err)
{
	Compression found;

	if (fill(blob, err) < 0)
		return -1;
	found = guess(blob);
	if (blob->spec.compression == COMPRESSION_GUESS)
		blob->spec.compression = found;
	else if (blob->spec.compression != found)
		return error_set(err, ERR_FAILED, "the layer is %s but its media type says %s",
				 compression_name(found), compression_name(blob->spec.compression));
	blob->inflater = inflater_new(blob->spec.compression, blob->spec.deflate);
	return 0;
}

static int account(Blob *blob, size_t size, Error **err)
{
	if (size > blob->meter->bytes_left) {
		error_set(err, ERR_UNSUPPORTED,
			  "the layers hold more than four times what the image may");
		return error_hint(err, "if that is meant, allow more with --max-size");
	}
	blob->meter->bytes_left -= size;
	hasher_add(&blob->diff_hash, blob->out, size);
	return 0;
}

ssize_t blob_read(Blob *blob, const void **out_data, Error **err)
{
	if (!blob->inflater && begin(blob, err) < 0)
		return -1;
	for (;;) {
		ssize_t got;

		if (!blob->in_left && !blob->file_ended && fill(blob, err) < 0)
			return -1;
		got = inflater_run(blob->inflater, &blob->in_at, &blob->in_left, blob->out,
				   OUT_SIZE, err);
		if (got < 0)
			return -1;
		if (got > 0) {
			*out_data = blob->out;
			return account(blob, (size_t)got, err) < 0 ? -1 : got;
		}
		if (blob->in_left || !blob->file_ended)
			continue;
		if (!inflater_at_end(blob->inflater)) {
			error_set(err, ERR_FAILED, "the layer is cut short");
			return error_hint(err, "fetch the image again");
		}
		return 0;
	}
}

/* Another copy of the file may be better: say which it is. */
static void mark_bad(const Blob *blob)
{
	if (blob->spec.bad_blob && blob->spec.digest)
		str_assign(blob->spec.bad_blob, blob->spec.digest);
}

static int check_file(Blob *blob, Error **err)
{
	auto_free char *digest = NULL;

	if (blob->spec.size != BLOB_UNKNOWN_SIZE && blob->spec.size != blob->file_bytes) {
		mark_bad(blob);
		return error_set(
			err, ERR_FAILED, "the blob has %llu bytes, but its manifest says %llu",
			(unsigned long long)blob->file_bytes, (unsigned long long)blob->spec.size);
	}
	if (!blob->spec.digest)
		return 0;
	digest = hasher_finish(&blob->file_hash);
	if (!strcmp(digest, blob->spec.digest))
		return 0;
	mark_bad(blob);
	return error_set(err, ERR_FAILED, "digest mismatch: the content of blob '%s' is '%s'",
			 blob->spec.digest, digest);
}

int blob_finish(Blob *blob, char **out_diff_id, Error **err)
{
	auto_free char *diff_id = NULL;

	if (check_file(blob, err) < 0)
		return -1;
	diff_id = hasher_finish(&blob->diff_hash);
	if (blob->spec.diff_id && strcmp(diff_id, blob->spec.diff_id) != 0)
		return error_set(err, ERR_FAILED,
				 "digest mismatch: the layer unpacks to '%s', not to diff_id '%s'",
				 diff_id, blob->spec.diff_id);
	*out_diff_id = steal(&diff_id);
	return 0;
}

void blob_explain(Blob *blob, Error **err)
{
	auto_error better = NULL;

	if (!err || !*err || !blob->spec.digest || !blob->file_hash.context)
		return;
	while (!blob->file_ended)
		if (fill(blob, NULL) < 0)
			return;
	if (check_file(blob, &better) == 0)
		return;
	error_clear(err);
	error_move(err, &better);
}

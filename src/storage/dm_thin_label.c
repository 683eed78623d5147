#include "storage/dm_thin_label.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/mem.h"

#define MAGIC	      "EMBERTHN"
#define VERSION	      1
#define OWNER_AT      16
#define GENERATION_AT 32
#define FLAGS_AT      40
#define SEGMENTS_AT   48
#define SEGMENT_BYTES 24
#define SUM_AT	      (THIN_LABEL_BYTES - 8)
#define FLAG_NEW      1
#define COPIES	      2

/* thin_metadata_size(8) counts each block of the pool once: an 1800th of 64 KiB blocks. But a clone that is written to
 * has leaves of its own for what it shares as well, so a disk of a guest costs as much again with every clone that has come
 * to differ everywhere. Three of them are in this, and `storage grow` brings more. */
#define METADATA_SHARE 512
#define METADATA_MIN   (8ULL << 20)
/* The most that the kernel makes use of (THIN_METADATA_MAX_SECTORS). */
#define METADATA_MAX (255ULL * (1 << 14) * 4096 / THIN_BLOCK_BYTES * THIN_BLOCK_BYTES)

static uint64_t get(const uint8_t *at, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = bytes; i > 0; i--)
		value = value << 8 | at[i - 1];
	return value;
}

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t checksum(const uint8_t *data)
{
	uint64_t sum = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < SUM_AT; i++)
		sum = (sum ^ data[i]) * 0x100000001b3ULL;
	return sum;
}

static bool is_segment(const ThinSegment *segment, uint64_t former_end)
{
	return (segment->kind == THIN_METADATA || segment->kind == THIN_DATA) &&
	       segment->start_bytes == former_end && segment->length_bytes > 0 &&
	       segment->length_bytes % THIN_BLOCK_BYTES == 0 &&
	       segment->length_bytes <= (uint64_t)INT64_MAX - former_end;
}

bool thin_label_parse(const uint8_t data[THIN_LABEL_BYTES], ThinLabel *out_label)
{
	ThinLabel label = { 0 };
	uint64_t end = THIN_RESERVED_BYTES;

	if (memcmp(data, MAGIC, strlen(MAGIC)) != 0 || get(data + 8, 4) != VERSION ||
	    get(data + SUM_AT, 8) != checksum(data))
		return false;
	label.count = get(data + 12, 4);
	if (label.count == 0 || label.count > THIN_SEGMENTS_MAX)
		return false;
	memcpy(label.owner, data + OWNER_AT, THIN_OWNER_MAX);
	label.generation = get(data + GENERATION_AT, 8);
	label.is_new = get(data + FLAGS_AT, 8) & FLAG_NEW;
	for (size_t i = 0; i < label.count; i++) {
		const uint8_t *at = data + SEGMENTS_AT + i * SEGMENT_BYTES;

		label.segments[i] = (ThinSegment){ .kind = (ThinKind)get(at, 8),
						   .start_bytes = get(at + 8, 8),
						   .length_bytes = get(at + 16, 8) };
		if (!is_segment(&label.segments[i], end))
			return false;
		end += label.segments[i].length_bytes;
	}
	if (!thin_label_bytes(&label, THIN_METADATA) || !thin_label_bytes(&label, THIN_DATA))
		return false;
	*out_label = label;
	return true;
}

void thin_label_format(const ThinLabel *label, uint8_t out_data[THIN_LABEL_BYTES])
{
	memset(out_data, 0, THIN_LABEL_BYTES);
	memcpy(out_data, MAGIC, sizeof(MAGIC)); /* the version comes where the NUL is */
	put(out_data + 8, VERSION, 4);
	put(out_data + 12, label->count, 4);
	(void)snprintf((char *)out_data + OWNER_AT, sizeof(label->owner), "%s", label->owner);
	put(out_data + GENERATION_AT, label->generation, 8);
	put(out_data + FLAGS_AT, label->is_new ? FLAG_NEW : 0, 8);
	for (size_t i = 0; i < label->count; i++) {
		uint8_t *at = out_data + SEGMENTS_AT + i * SEGMENT_BYTES;

		put(at, label->segments[i].kind, 8);
		put(at + 8, label->segments[i].start_bytes, 8);
		put(at + 16, label->segments[i].length_bytes, 8);
	}
	put(out_data + SUM_AT, checksum(out_data), 8);
}

int thin_label_read(int fd, ThinLabel *out_label, Error **err)
{
	uint8_t data[COPIES * THIN_LABEL_BYTES] = { 0 };
	ThinLabel newest = { 0 };
	ThinLabel label;

	/* What is shorter has none. */
	if (pread(fd, data, sizeof(data), 0) < 0)
		return error_set_errno(err, errno, "read");
	for (size_t i = 0; i < COPIES; i++)
		if (thin_label_parse(data + i * THIN_LABEL_BYTES, &label) &&
		    (!newest.count || label.generation > newest.generation))
			newest = label;
	if (!newest.count)
		return 0;
	*out_label = newest;
	return 1;
}

/* Both, one after the other: at each instant one is whole. Generation n goes to copy n % 2 first, where n - 2 was. */
int thin_label_write(int fd, ThinLabel *label, Error **err)
{
	uint8_t data[THIN_LABEL_BYTES];

	label->generation++;
	thin_label_format(label, data);
	for (size_t i = 0; i < COPIES; i++) {
		off_t at = (off_t)((label->generation + i) % COPIES * THIN_LABEL_BYTES);

		if (pwrite(fd, data, sizeof(data), at) != (ssize_t)sizeof(data))
			return error_set_errno(err, errno ? errno : EIO, "write the store's label");
		if (fs_sync_fd(fd, "the store's label", err) < 0)
			return -1;
	}
	return 0;
}

uint64_t thin_label_bytes(const ThinLabel *label, ThinKind kind)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < label->count; i++)
		if (label->segments[i].kind == kind)
			bytes += label->segments[i].length_bytes;
	return bytes;
}

uint64_t thin_label_end(const ThinLabel *label)
{
	const ThinSegment *last;

	if (!label->count)
		return THIN_RESERVED_BYTES;
	last = &label->segments[label->count - 1];
	return last->start_bytes + last->length_bytes;
}

/* At the end; the last segment just becomes longer when it is of that kind. */
static void append(ThinLabel *label, ThinKind kind, uint64_t bytes)
{
	uint64_t end = thin_label_end(label);

	if (label->count && label->segments[label->count - 1].kind == kind) {
		label->segments[label->count - 1].length_bytes += bytes;
		return;
	}
	label->segments[label->count++] =
		(ThinSegment){ .kind = kind, .start_bytes = end, .length_bytes = bytes };
}

static uint64_t metadata_for(uint64_t total_bytes)
{
	uint64_t bytes = total_bytes / METADATA_SHARE / THIN_BLOCK_BYTES * THIN_BLOCK_BYTES;

	if (bytes < METADATA_MIN)
		return METADATA_MIN;
	return bytes < METADATA_MAX ? bytes : METADATA_MAX;
}

int thin_label_grow(ThinLabel *label, uint64_t total_bytes, Error **err)
{
	uint64_t end = thin_label_end(label);
	uint64_t usable = total_bytes / THIN_BLOCK_BYTES * THIN_BLOCK_BYTES;
	uint64_t metadata = metadata_for(total_bytes);
	uint64_t has = thin_label_bytes(label, THIN_METADATA);

	/* In steps of a quarter at least, so that a store that grows often stays in few pieces. */
	metadata = metadata > has + has / 4 || !has ? metadata - has : 0;
	if (usable < end + metadata + THIN_BLOCK_BYTES)
		return error_set(err, ERR_USAGE, "%llu bytes are too few for the store",
				 (unsigned long long)total_bytes);
	if (label->count + 2 > THIN_SEGMENTS_MAX)
		return error_set(err, ERR_UNSUPPORTED,
				 "the store cannot grow any more: it is in %zu pieces",
				 label->count);
	if (metadata)
		append(label, THIN_METADATA, metadata);
	append(label, THIN_DATA, usable - end - metadata);
	return 0;
}

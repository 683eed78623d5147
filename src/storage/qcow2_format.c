#include "storage/qcow2_format.h"

#include <string.h>

#include "util/str.h"

#define MAGIC	      0x514649fbU
#define VERSION	      3
#define CLUSTER_BITS  17
#define REFCOUNT_BITS 4 /* of 1 << 4 bits each */
#define HEADER_LENGTH 112
/* Where the fields are. */
#define AT_VERSION	     4
#define AT_BACKING_OFFSET    8
#define AT_BACKING_SIZE	     16
#define AT_CLUSTER_BITS	     20
#define AT_CRYPT	     32
#define AT_L1_ENTRIES	     36
#define AT_L1_OFFSET	     40
#define AT_REFCOUNT_OFFSET   48
#define AT_REFCOUNT_CLUSTERS 56
#define AT_SNAPSHOTS	     60
#define AT_INCOMPATIBLE	     72
#define AT_REFCOUNT_ORDER    96
#define AT_HEADER_LENGTH     100
#define HEADER_LENGTH_MIN    104
/* Incompatible features. */
#define FEATURE_DIRTY	    0x1ULL
#define FEATURE_CORRUPT	    0x2ULL
#define FEATURE_EXTENDED_L2 0x10ULL
#define EXTENSION_FORMAT    0xe2792acaU
#define L1_ENTRIES_MAX	    (1U << 22) /* what QEMU takes: a table of 32 MiB */

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 3; i >= 0; i--, value >>= 8)
		at[i] = (uint8_t)value;
}

static int check_shape(const uint8_t *data, Error **err)
{
	uint64_t features = qcow2_get64(data + AT_INCOMPATIBLE);

	if (get32(data) != MAGIC)
		return error_set(err, ERR_FAILED, "it is no qcow2 file");
	if (features & FEATURE_CORRUPT)
		return error_set(err, ERR_FAILED, "QEMU has marked it as damaged");
	if (get32(data + AT_VERSION) != VERSION || get32(data + AT_CLUSTER_BITS) != CLUSTER_BITS ||
	    get32(data + AT_CRYPT) != 0 || get32(data + AT_SNAPSHOTS) != 0 ||
	    get32(data + AT_REFCOUNT_ORDER) != REFCOUNT_BITS ||
	    (features & ~FEATURE_DIRTY) != FEATURE_EXTENDED_L2)
		return error_set(err, ERR_UNSUPPORTED,
				 "it is a qcow2 file that ember did not make");
	return 0;
}

static bool is_table(uint64_t offset)
{
	return offset >= QCOW2_CLUSTER && offset % QCOW2_CLUSTER == 0 && offset <= INT64_MAX;
}

static int read_tables(const uint8_t *data, Qcow2Header *header, Error **err)
{
	uint64_t mapped;

	header->size_bytes = qcow2_get64(data + QCOW2_SIZE_AT);
	header->l1_entries = get32(data + AT_L1_ENTRIES);
	header->l1_offset = qcow2_get64(data + AT_L1_OFFSET);
	header->refcount_offset = qcow2_get64(data + AT_REFCOUNT_OFFSET);
	mapped = header->l1_entries * QCOW2_L2_BYTES;
	if (!is_table(header->l1_offset) || !is_table(header->refcount_offset) ||
	    get32(data + AT_REFCOUNT_CLUSTERS) == 0 || header->l1_entries > L1_ENTRIES_MAX ||
	    header->size_bytes > mapped || header->size_bytes > INT64_MAX)
		return error_set(err, ERR_FAILED, "its header makes no sense");
	return 0;
}

/* What an extension says the backing file is; a file without one leaves it to guessing, which no guest may be able to
 * influence, so the name has to say the same. */
static int check_format(const uint8_t *data, size_t len, bool is_raw, Error **err)
{
	const char *want = is_raw ? "raw" : "qcow2";
	size_t at = get32(data + AT_HEADER_LENGTH);

	while (at + 8 <= len && get32(data + at) != 0) {
		uint32_t size = get32(data + at + 4);

		if (size > len - at - 8)
			break;
		if (get32(data + at) == EXTENSION_FORMAT)
			return size == strlen(want) && memcmp(data + at + 8, want, size) == 0
				       ? 0
				       : error_set(err, ERR_FAILED,
						   "its backing file is of another format than its "
						   "name says");
		at += 8 + (((size_t)size + 7) & ~(size_t)7);
	}
	return error_set(err, ERR_FAILED, "it does not tell the format of its backing file");
}

static int read_backing(const uint8_t *data, size_t len, Qcow2Header *header, Error **err)
{
	static const char allowed[] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-.";
	uint64_t offset = qcow2_get64(data + AT_BACKING_OFFSET);
	uint32_t size = get32(data + AT_BACKING_SIZE);
	char *name = header->backing;

	if (!offset)
		return 0;
	if (size == 0 || size > QCOW2_NAME_MAX || offset > len || size > len - offset)
		return error_set(err, ERR_FAILED, "the name of its backing file is out of place");
	memcpy(name, data + offset, size);
	name[size] = '\0';
	if (strspn(name, allowed) != size || name[0] == '.')
		return error_set(err, ERR_FAILED, "its backing file is no layer of this store");
	header->backing_is_raw = str_ends_with(name, ".raw");
	if (!header->backing_is_raw && !str_ends_with(name, ".qcow2"))
		return error_set(err, ERR_FAILED, "its backing file is no layer of this store");
	return check_format(data, len, header->backing_is_raw, err);
}

int qcow2_parse(const uint8_t *data, size_t len, Qcow2Header *out_header, Error **err)
{
	Qcow2Header header = { 0 };

	if (len < HEADER_LENGTH_MIN)
		return error_set(err, ERR_FAILED, "it is too short for a qcow2 file");
	if (check_shape(data, err) < 0)
		return -1;
	if (get32(data + AT_HEADER_LENGTH) < HEADER_LENGTH_MIN ||
	    get32(data + AT_HEADER_LENGTH) > len || get32(data + AT_HEADER_LENGTH) % 8 != 0)
		return error_set(err, ERR_FAILED, "its header makes no sense");
	if (read_tables(data, &header, err) < 0 || read_backing(data, len, &header, err) < 0)
		return -1;
	*out_header = header;
	return 0;
}

void qcow2_print(const Qcow2Header *header, uint8_t *out_data)
{
	const char *format = header->backing_is_raw ? "raw" : "qcow2";
	size_t name_at = HEADER_LENGTH + 8 + 8 + 8;

	memset(out_data, 0, QCOW2_HEADER_BYTES);
	put32(out_data, MAGIC);
	put32(out_data + AT_VERSION, VERSION);
	put32(out_data + AT_CLUSTER_BITS, CLUSTER_BITS);
	qcow2_put64(out_data + QCOW2_SIZE_AT, header->size_bytes);
	put32(out_data + AT_L1_ENTRIES, header->l1_entries);
	qcow2_put64(out_data + AT_L1_OFFSET, header->l1_offset);
	qcow2_put64(out_data + AT_REFCOUNT_OFFSET, header->refcount_offset);
	put32(out_data + AT_REFCOUNT_CLUSTERS, 1);
	qcow2_put64(out_data + AT_INCOMPATIBLE, FEATURE_EXTENDED_L2);
	put32(out_data + AT_REFCOUNT_ORDER, REFCOUNT_BITS);
	put32(out_data + AT_HEADER_LENGTH, HEADER_LENGTH);
	if (!*header->backing)
		return;
	put32(out_data + HEADER_LENGTH, EXTENSION_FORMAT);
	put32(out_data + HEADER_LENGTH + 4, (uint32_t)strlen(format));
	memcpy(out_data + HEADER_LENGTH + 8, format, strlen(format) + 1); /* padding follows */
	qcow2_put64(out_data + AT_BACKING_OFFSET, name_at);
	put32(out_data + AT_BACKING_SIZE, (uint32_t)strlen(header->backing));
	memcpy(out_data + name_at, header->backing, strlen(header->backing) + 1);
}

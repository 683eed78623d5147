#include "image/tarwrite.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/mem.h"
#include "util/str.h"

#define BLOCK	      512u
#define NAME_SIZE     100u
#define MAX_PAX_BYTES (4u << 20)
#define MAX_OCTAL_7   07777777ull     /* mode, owners, device numbers */
#define MAX_OCTAL_11  077777777777ull /* size, mtime */

/* POSIX.1-2017, "ustar Interchange Format". */
typedef struct Header {
	char name[NAME_SIZE];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char link_name[NAME_SIZE];
	char magic[6];
	char version[2];
	char user[32];
	char group[32];
	char major[8];
	char minor[8];
	char prefix[155];
	char padding[12];
} Header;
_Static_assert(sizeof(Header) == BLOCK, "a header is one block");

/* A number that does not fit stands in the extended header, and here is 0. */
static void put_octal(char *field, size_t size, uint64_t value, uint64_t max)
{
	(void)snprintf(field, size, "%0*" PRIo64, (int)size - 1, value <= max ? value : 0);
}

static void put_name(char field[NAME_SIZE], const char *name)
{
	size_t length = strlen(name);

	/* A name of exactly 100 bytes fits without an end. */
	memcpy(field, name, length < NAME_SIZE ? length : NAME_SIZE);
}

static int write_header(Packer *packer, Header *header, Error **err)
{
	const unsigned char *bytes = (const unsigned char *)header;
	unsigned sum = 0;

	memcpy(header->magic, "ustar", sizeof(header->magic));
	memcpy(header->version, "00", sizeof(header->version));
	memset(header->checksum, ' ', sizeof(header->checksum));
	for (size_t i = 0; i < sizeof(*header); i++)
		sum += bytes[i];
	(void)snprintf(header->checksum, 7, "%06o", sum);
	return packer_add(packer, header, sizeof(*header), err);
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself too. */
static void add_record(Strbuf *records, const char *key, const void *value, size_t size)
{
	size_t rest = 1 + strlen(key) + 1 + size + 1;
	size_t length = rest + 1;

	while (length != rest + (size_t)snprintf(NULL, 0, "%zu", length))
		length = rest + (size_t)snprintf(NULL, 0, "%zu", length);
	strbuf_addf(records, "%zu %s=", length, key);
	strbuf_add(records, value, size);
	strbuf_addc(records, '\n');
}

static void add_text(Strbuf *records, const char *key, const char *value)
{
	add_record(records, key, value, strlen(value));
}

static void add_number(Strbuf *records, const char *key, uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value);
	add_text(records, key, text);
}

/* Seconds and a fraction that counts away from zero: 1 ns before 1970 is "-0.000000001". */
static void add_time(Strbuf *records, int64_t seconds, uint32_t nanoseconds)
{
	const char *sign = seconds < 0 ? "-" : "";
	char text[40];
	int length;

	if (seconds < 0 && nanoseconds > 0) {
		seconds++;
		nanoseconds = 1000000000 - nanoseconds;
	}
	length = snprintf(text, sizeof(text), "%s%" PRIu64, sign,
			  (uint64_t)(seconds < 0 ? -seconds : seconds));
	if (nanoseconds > 0)
		(void)snprintf(text + length, sizeof(text) - (size_t)length, ".%09u", nanoseconds);
	add_text(records, "mtime", text);
}

/* A name with "=" cannot be a record's key. libarchive's records have both parts encoded. */
static void add_encoded_xattr(Strbuf *records, const ExtXattr *xattr)
{
	auto_strbuf Strbuf key = { 0 };
	auto_strbuf Strbuf value = { 0 };

	strbuf_adds(&key, "LIBARCHIVE.xattr.");
	for (const char *at = xattr->name; *at; at++) {
		if (isalnum((unsigned char)*at) || strchr("._-", *at))
			strbuf_addc(&key, *at);
		else
			strbuf_addf(&key, "%%%02X", (unsigned)(unsigned char)*at);
	}
	strbuf_add_base64(&value, xattr->value, xattr->size, false);
	add_record(records, strbuf_str(&key), strbuf_str(&value), value.len);
}

static void add_xattrs(Strbuf *records, const ExtXattrs *xattrs)
{
	for (size_t i = 0; xattrs && i < xattrs->count; i++) {
		const ExtXattr *xattr = &xattrs->items[i];
		auto_free char *key = xasprintf("SCHILY.xattr.%s", xattr->name);

		if (strchr(xattr->name, '='))
			add_encoded_xattr(records, xattr);
		else
			add_record(records, key, xattr->value, xattr->size);
	}
}

/* The map at the beginning of a sparse file's content: how many pieces, then place and size of each. Written, or only
 * measured when there is no packer. */
static int write_number(Packer *packer, uint64_t value, uint64_t *size, Error **err)
{
	char text[24];
	int length = snprintf(text, sizeof(text), "%" PRIu64 "\n", value);

	*size += (uint64_t)length;
	return packer ? packer_add(packer, text, (size_t)length, err) : 0;
}

static int write_map(Packer *packer, const TarMember *member, uint64_t *out_size, Error **err)
{
	uint64_t size = 0;

	/* The last piece is empty and stands at the end, as GNU tar has it: the file may end with a hole. */
	if (write_number(packer, member->piece_count + 1, &size, err) < 0)
		return -1;
	for (size_t i = 0; i < member->piece_count; i++)
		if (write_number(packer, member->pieces[i].at, &size, err) < 0 ||
		    write_number(packer, member->pieces[i].size, &size, err) < 0)
			return -1;
	if (write_number(packer, member->size, &size, err) < 0 ||
	    write_number(packer, 0, &size, err) < 0)
		return -1;
	*out_size = (size + BLOCK - 1) / BLOCK * BLOCK;
	return packer ? tar_write_padding(packer, err) : 0;
}

static uint64_t stored_size(const TarMember *member)
{
	uint64_t size = 0;

	if (member->type != TAR_FILE)
		return 0;
	if (!member->pieces)
		return member->size;
	(void)write_map(NULL, member, &size, NULL);
	for (size_t i = 0; i < member->piece_count; i++)
		size += member->pieces[i].size;
	return size;
}

static void add_records(Strbuf *records, const TarMember *member, uint64_t size)
{
	if (member->pieces) {
		add_text(records, "GNU.sparse.major", "1");
		add_text(records, "GNU.sparse.minor", "0");
		add_text(records, "GNU.sparse.name", member->path);
		add_number(records, "GNU.sparse.realsize", member->size);
	} else if (strlen(member->path) > NAME_SIZE) {
		add_text(records, "path", member->path);
	}
	if (member->target && strlen(member->target) > NAME_SIZE)
		add_text(records, "linkpath", member->target);
	if (size > MAX_OCTAL_11)
		add_number(records, "size", size);
	if (member->uid > MAX_OCTAL_7)
		add_number(records, "uid", member->uid);
	if (member->gid > MAX_OCTAL_7)
		add_number(records, "gid", member->gid);
	if (member->mtime < 0 || (uint64_t)member->mtime > MAX_OCTAL_11 || member->mtime_ns)
		add_time(records, member->mtime, member->mtime_ns);
	add_xattrs(records, member->xattrs);
}

static int write_records(Packer *packer, const Strbuf *records, Error **err)
{
	Header header = { .type = 'x' };

	if (records->truncated)
		return error_set(err, ERR_UNSUPPORTED, "its attributes do not fit a tar's header");
	put_name(header.name, "PaxHeaders/ember");
	put_octal(header.mode, sizeof(header.mode), 0644, MAX_OCTAL_7);
	put_octal(header.uid, sizeof(header.uid), 0, MAX_OCTAL_7);
	put_octal(header.gid, sizeof(header.gid), 0, MAX_OCTAL_7);
	put_octal(header.size, sizeof(header.size), records->len, MAX_OCTAL_11);
	put_octal(header.mtime, sizeof(header.mtime), 0, MAX_OCTAL_11);
	if (write_header(packer, &header, err) < 0 ||
	    packer_add(packer, records->text, records->len, err) < 0)
		return -1;
	return tar_write_padding(packer, err);
}

int tar_write_header(Packer *packer, const TarMember *member, Error **err)
{
	auto_strbuf Strbuf records = { .max = MAX_PAX_BYTES };
	Header header = { .type = (char)member->type };
	uint64_t size = stored_size(member);

	add_records(&records, member, size);
	if (records.len > 0 && write_records(packer, &records, err) < 0)
		return -1;
	put_name(header.name, member->pieces ? "GNUSparseFile/ember" : member->path);
	if (member->target)
		put_name(header.link_name, member->target);
	put_octal(header.mode, sizeof(header.mode), member->mode, MAX_OCTAL_7);
	put_octal(header.uid, sizeof(header.uid), member->uid, MAX_OCTAL_7);
	put_octal(header.gid, sizeof(header.gid), member->gid, MAX_OCTAL_7);
	put_octal(header.size, sizeof(header.size), size, MAX_OCTAL_11);
	put_octal(header.mtime, sizeof(header.mtime),
		  member->mtime < 0 ? 0 : (uint64_t)member->mtime, MAX_OCTAL_11);
	put_octal(header.major, sizeof(header.major), member->major, MAX_OCTAL_7);
	put_octal(header.minor, sizeof(header.minor), member->minor, MAX_OCTAL_7);
	if (write_header(packer, &header, err) < 0)
		return -1;
	return member->pieces ? write_map(packer, member, &size, err) : 0;
}

int tar_write_padding(Packer *packer, Error **err)
{
	return packer_add_zeros(packer, (BLOCK - packer_position(packer) % BLOCK) % BLOCK, err);
}

int tar_write_end(Packer *packer, Error **err)
{
	return packer_add_zeros(packer, UINT64_C(2) * BLOCK, err);
}

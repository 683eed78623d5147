#include "storage/qcow2_read.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/mem.h"

/* As much as there is of `len` bytes; the rest is zeroes. */
static int read_at(int fd, uint64_t offset, void *data, size_t len, size_t *out_len, Error **err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t got = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "read");
		if (got == 0)
			break;
		done += (size_t)got;
	}
	memset((char *)data + done, 0, len - done);
	if (out_len)
		*out_len = done;
	return 0;
}

static int open_file(const char *dir, const char *file, int *out_fd, Error **err)
{
	auto_free char *path = path_join(dir, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT) {
		error_set(err, ERR_NOT_FOUND, "the disk '%s' is missing", path);
		return error_hint(err, "see what else is wrong: ember doctor");
	}
	if (fd < 0)
		return error_set_errno(err, errno, "open disk '%s'", path);
	*out_fd = fd;
	return 0;
}

static int parse_file(int fd, Qcow2Header *out_header, Error **err)
{
	uint8_t data[QCOW2_HEADER_BYTES];
	size_t len;

	return read_at(fd, 0, data, sizeof(data), &len, err) < 0
		       ? -1
		       : qcow2_parse(data, len, out_header, err);
}

int qcow2_read_header(const char *dir, const char *file, Qcow2Header *out_header, Error **err)
{
	auto_fd fd = -1;

	if (open_file(dir, file, &fd, err) < 0)
		return -1;
	return parse_file(fd, out_header, err) < 0 ? error_wrap(err, "read disk '%s/%s'", dir, file)
						   : 0;
}

static void release_layer(Qcow2Layer *layer)
{
	close_fd(&layer->fd);
	free(layer->file);
	free(layer->l1);
	free(layer->l2);
}

void qcow2_chain_release(Qcow2Chain *chain)
{
	for (size_t i = 0; i < chain->count; i++)
		release_layer(&chain->layers[i]);
	free(chain->layers);
	*chain = (Qcow2Chain){ 0 };
}

static int read_tables(Qcow2Layer *layer, Error **err)
{
	size_t bytes;

	if (parse_file(layer->fd, &layer->header, err) < 0)
		return -1;
	layer->size_bytes = layer->header.size_bytes;
	layer->l1_count = (layer->size_bytes + QCOW2_L2_BYTES - 1) / QCOW2_L2_BYTES;
	bytes = layer->l1_count * sizeof(*layer->l1);
	layer->l1 = xcalloc(layer->l1_count + 1, sizeof(*layer->l1));
	if (read_at(layer->fd, layer->header.l1_offset, layer->l1, bytes, NULL, err) < 0)
		return -1;
	for (size_t i = 0; i < layer->l1_count; i++)
		layer->l1[i] = qcow2_get64(&layer->l1[i]) & QCOW2_OFFSET_MASK;
	return 0;
}

static int open_layer(const char *dir, const char *file, Qcow2Layer *layer, Error **err)
{
	struct stat st;

	layer->file = xstrdup(file);
	layer->is_raw = str_ends_with(file, ".raw");
	if (open_file(dir, file, &layer->fd, err) < 0)
		return -1;
	if (!layer->is_raw)
		return read_tables(layer, err) < 0 ? error_wrap(err, "read disk '%s/%s'", dir, file)
						   : 0;
	if (fstat(layer->fd, &st) < 0)
		return error_set_errno(err, errno, "look at disk '%s/%s'", dir, file);
	layer->size_bytes = (uint64_t)st.st_size;
	return 0;
}

int qcow2_chain_open(const char *dir, const char *file, Qcow2Chain *out_chain, Error **err)
{
	auto_qcow2_chain Qcow2Chain chain = { .dir = dir };
	auto_free char *next = xstrdup(file);

	while (*next) {
		Qcow2Layer *layer;

		if (chain.count == QCOW2_CHAIN_MAX + 1)
			return error_set(err, ERR_FAILED, "'%s' has more than %d layers", file,
					 QCOW2_CHAIN_MAX);
		chain.layers = xreallocarray(chain.layers, chain.count + 1, sizeof(*layer));
		layer = &chain.layers[chain.count++];
		*layer = (Qcow2Layer){ .fd = -1 };
		if (open_layer(dir, next, layer, err) < 0)
			return -1;
		str_assign(&next, layer->header.backing);
	}
	*out_chain = chain;
	chain = (Qcow2Chain){ 0 };
	return 0;
}

static size_t count_tables(const Qcow2Layer *layer)
{
	size_t count = 0;

	for (size_t i = 0; i < layer->l1_count; i++)
		count += layer->l1[i] != 0;
	return count;
}

int qcow2_count_tables(const char *dir, const char *file, Qcow2Header *out_header,
		       uint64_t *out_tables, Error **err)
{
	CLEANUP(release_layer) Qcow2Layer layer = { .fd = -1 };

	if (open_layer(dir, file, &layer, err) < 0)
		return -1;
	*out_header = layer.header;
	*out_tables = count_tables(&layer);
	return 0;
}

bool qcow2_chain_is_untouched(const Qcow2Chain *chain)
{
	return chain->count > 1 && count_tables(&chain->layers[0]) == 0;
}

/* The L2 entry of the cluster: where it is, and the bits of its subclusters. */
static int find_entry(Qcow2Layer *layer, uint64_t number, uint64_t *out_at, uint64_t *out_bits,
		      Error **err)
{
	uint64_t table = number / QCOW2_L2_ENTRIES;
	uint64_t at = table < layer->l1_count ? layer->l1[table] : 0;
	const uint8_t *entry;

	*out_at = *out_bits = 0;
	if (!at)
		return 0;
	if (at != layer->l2_at) {
		if (!layer->l2)
			layer->l2 = xmalloc(QCOW2_CLUSTER);
		layer->l2_at = 0;
		if (read_at(layer->fd, at, layer->l2, QCOW2_CLUSTER, NULL, err) < 0)
			return -1;
		layer->l2_at = at;
	}
	entry = layer->l2 + number % QCOW2_L2_ENTRIES * 16;
	if (qcow2_get64(entry) & QCOW2_COMPRESSED)
		return error_set(err, ERR_UNSUPPORTED, "'%s' is compressed", layer->file);
	*out_at = qcow2_get64(entry) & QCOW2_OFFSET_MASK;
	*out_bits = qcow2_get64(entry + 8);
	return 0;
}

static int map_layer(Qcow2Layer *layer, size_t index, uint64_t number, Qcow2Piece *pieces,
		     Error **err)
{
	uint64_t at, bits;

	if (find_entry(layer, number, &at, &bits, err) < 0)
		return -1;
	for (unsigned i = 0; i < QCOW2_SUBS; i++) {
		bool has = bits >> i & 1;

		if (pieces[i].kind != QCOW2_NOWHERE || (!has && !(bits >> (i + QCOW2_SUBS) & 1)))
			continue;
		if (has && at == 0)
			return error_set(err, ERR_FAILED, "a table of '%s' makes no sense",
					 layer->file);
		pieces[i] = (Qcow2Piece){ .kind = has ? QCOW2_DATA : QCOW2_ZEROES,
					  .layer = index,
					  .offset = at + i * QCOW2_SUBCLUSTER };
	}
	return 0;
}

/* Is there nothing in that part of a raw layer? Asked in ascending order as a rule. */
static bool is_hole(Qcow2Layer *layer, uint64_t offset, uint64_t len)
{
	off_t data;

	if (offset >= layer->hole_from && offset + len <= layer->data_from)
		return true;
	data = lseek(layer->fd, (off_t)offset, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return false;
	layer->hole_from = offset;
	layer->data_from = data < 0 ? UINT64_MAX : (uint64_t)data;
	return offset + len <= layer->data_from;
}

static void map_raw(Qcow2Layer *layer, size_t index, uint64_t number, Qcow2Piece *pieces)
{
	uint64_t offset = number * QCOW2_CLUSTER;

	if (is_hole(layer, offset, QCOW2_CLUSTER))
		return;
	for (unsigned i = 0; i < QCOW2_SUBS; i++, offset += QCOW2_SUBCLUSTER)
		if (pieces[i].kind == QCOW2_NOWHERE && offset < layer->size_bytes)
			pieces[i] = (Qcow2Piece){ .kind = QCOW2_DATA,
						  .layer = index,
						  .offset = offset };
}

/* A layer that is shorter than those on it ends the disk for all below it: what they have there was never in it. */
static void cut_off(const Qcow2Layer *layer, size_t index, uint64_t number, Qcow2Piece *pieces)
{
	uint64_t offset = number * QCOW2_CLUSTER;

	for (unsigned i = 0; i < QCOW2_SUBS; i++, offset += QCOW2_SUBCLUSTER)
		if (pieces[i].kind == QCOW2_NOWHERE && offset >= layer->size_bytes)
			pieces[i] = (Qcow2Piece){ .kind = QCOW2_ZEROES, .layer = index };
}

int qcow2_chain_map(Qcow2Chain *chain, size_t from, uint64_t number, Qcow2Piece *out_pieces,
		    Error **err)
{
	memset(out_pieces, 0, QCOW2_SUBS * sizeof(*out_pieces));
	for (size_t i = from; i < chain->count; i++) {
		Qcow2Layer *layer = &chain->layers[i];

		cut_off(layer, i, number, out_pieces);
		if (layer->is_raw)
			map_raw(layer, i, number, out_pieces);
		else if (map_layer(layer, i, number, out_pieces, err) < 0)
			return error_wrap(err, "read disk '%s/%s'", chain->dir, layer->file);
	}
	return 0;
}

int qcow2_chain_read(Qcow2Chain *chain, size_t from, uint64_t number, uint8_t *out_data,
		     Error **err)
{
	Qcow2Piece pieces[QCOW2_SUBS];
	int has_data = 0;

	if (qcow2_chain_map(chain, from, number, pieces, err) < 0)
		return -1;
	memset(out_data, 0, QCOW2_CLUSTER);
	for (unsigned i = 0; i < QCOW2_SUBS;) {
		unsigned end = i + 1;

		/* What lies side by side is read in one go. */
		while (end < QCOW2_SUBS && pieces[end].kind == pieces[i].kind &&
		       pieces[end].layer == pieces[i].layer &&
		       pieces[end].offset == pieces[i].offset + (end - i) * QCOW2_SUBCLUSTER)
			end++;
		if (pieces[i].kind == QCOW2_DATA) {
			const Qcow2Layer *layer = &chain->layers[pieces[i].layer];

			has_data = 1;
			if (read_at(layer->fd, pieces[i].offset, out_data + i * QCOW2_SUBCLUSTER,
				    (end - i) * QCOW2_SUBCLUSTER, NULL, err) < 0)
				return error_wrap(err, "read disk '%s/%s'", chain->dir,
						  layer->file);
		}
		i = end;
	}
	return has_data;
}

#include "storage/qcow2_write.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/str.h"

/* The file begins with these clusters. */
enum { CLUSTER_HEADER, CLUSTER_REFCOUNTS, CLUSTER_L1, CLUSTER_FIRST_FREE };

#define REFCOUNTS_PER_BLOCK (QCOW2_CLUSTER / 2)

static int write_at(const Qcow2Writer *writer, uint64_t offset, const void *data, size_t len,
		    Error **err)
{
	for (size_t done = 0; done < len;) {
		ssize_t put = pwrite(writer->fd, (const char *)data + done, len - done,
				     (off_t)(offset + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_set_errno(err, errno, "write the disk");
		done += (size_t)put;
	}
	return 0;
}

void qcow2_writer_begin(Qcow2Writer *writer, int fd, uint64_t size_bytes, const char *backing)
{
	*writer = (Qcow2Writer){
		.fd = fd,
		.header = { .size_bytes = size_bytes,
			    .l1_entries = QCOW2_L1_ENTRIES,
			    .l1_offset = CLUSTER_L1 * QCOW2_CLUSTER,
			    .refcount_offset = CLUSTER_REFCOUNTS * QCOW2_CLUSTER,
			    .backing_is_raw = backing && str_ends_with(backing, ".raw") },
		.next = CLUSTER_FIRST_FREE,
		.table = UINT64_MAX,
	};
	if (backing)
		memcpy(writer->header.backing, backing, strnlen(backing, QCOW2_NAME_MAX));
}

void qcow2_writer_release(Qcow2Writer *writer)
{
	free(writer->l1);
	free(writer->l2);
	*writer = (Qcow2Writer){ .fd = -1 };
}

static int flush_table(Qcow2Writer *writer, Error **err)
{
	if (writer->table == UINT64_MAX)
		return 0;
	return write_at(writer, writer->l2_at, writer->l2, QCOW2_CLUSTER, err);
}

static int begin_table(Qcow2Writer *writer, uint64_t table, Error **err)
{
	if (flush_table(writer, err) < 0)
		return -1;
	if (!writer->l1) {
		writer->l1 = xcalloc(1, QCOW2_CLUSTER);
		writer->l2 = xmalloc(QCOW2_CLUSTER);
	}
	memset(writer->l2, 0, QCOW2_CLUSTER);
	writer->table = table;
	writer->l2_at = writer->next++ * QCOW2_CLUSTER;
	qcow2_put64(writer->l1 + table * 8, writer->l2_at | QCOW2_COPIED);
	return 0;
}

static int put_data(Qcow2Writer *writer, uint64_t at, const uint8_t *data, uint32_t has,
		    Error **err)
{
	for (unsigned i = 0; i < QCOW2_SUBS;) {
		unsigned end = i + 1;

		if (!(has >> i & 1)) {
			i++;
			continue;
		}
		while (end < QCOW2_SUBS && has >> end & 1)
			end++;
		if (write_at(writer, at + i * QCOW2_SUBCLUSTER, data + i * QCOW2_SUBCLUSTER,
			     (end - i) * QCOW2_SUBCLUSTER, err) < 0)
			return -1;
		i = end;
	}
	return 0;
}

int qcow2_writer_put(Qcow2Writer *writer, uint64_t number, const uint8_t *data, uint32_t has,
		     uint32_t zeroes, Error **err)
{
	uint64_t table = number / QCOW2_L2_ENTRIES;
	uint64_t at = 0;
	uint8_t *entry;

	if (!has && !zeroes)
		return 0;
	if (table != writer->table && begin_table(writer, table, err) < 0)
		return -1;
	if (has) {
		at = writer->next++ * QCOW2_CLUSTER;
		if (put_data(writer, at, data, has, err) < 0)
			return -1;
	}
	entry = writer->l2 + number % QCOW2_L2_ENTRIES * 16;
	qcow2_put64(entry, at ? at | QCOW2_COPIED : 0);
	qcow2_put64(entry + 8, (uint64_t)zeroes << QCOW2_SUBS | has);
	return 0;
}

/* Each cluster of the file is used once, those with the counts themselves included. */
static int put_refcounts(Qcow2Writer *writer, Error **err)
{
	auto_free uint8_t *counts = xcalloc(1, QCOW2_CLUSTER);
	auto_free uint8_t *table = xcalloc(1, QCOW2_CLUSTER);
	uint64_t first = writer->next, blocks = 0, left;

	while (blocks * REFCOUNTS_PER_BLOCK < first + blocks)
		blocks++;
	writer->next += blocks;
	left = writer->next;
	for (uint64_t i = 0; i < blocks; i++) {
		uint64_t at = (first + i) * QCOW2_CLUSTER;
		size_t used = left < REFCOUNTS_PER_BLOCK ? (size_t)left : REFCOUNTS_PER_BLOCK;

		memset(counts, 0, QCOW2_CLUSTER);
		for (size_t j = 0; j < used; j++)
			counts[2 * j + 1] = 1;
		/* What is left of the block is a hole, whose zeroes mean the same. */
		if (write_at(writer, at, counts, used * 2, err) < 0)
			return -1;
		qcow2_put64(table + i * 8, at);
		left -= used;
	}
	return write_at(writer, writer->header.refcount_offset, table, blocks * 8, err);
}

int qcow2_writer_finish(Qcow2Writer *writer, Error **err)
{
	uint8_t header[QCOW2_HEADER_BYTES];

	if (flush_table(writer, err) < 0 || put_refcounts(writer, err) < 0)
		return -1;
	if (writer->l1 &&
	    write_at(writer, writer->header.l1_offset, writer->l1, QCOW2_CLUSTER, err) < 0)
		return -1;
	if (ftruncate(writer->fd, (off_t)(writer->next * QCOW2_CLUSTER)) < 0)
		return error_set_errno(err, errno, "write the disk");
	qcow2_print(&writer->header, header);
	return write_at(writer, 0, header, sizeof(header), err);
}

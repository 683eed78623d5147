#include "image/export_file.h"

#include <stdlib.h>
#include <time.h>

#include "image/extfs_format.h"
#include "util/mem.h"

#define PROGRESS_INTERVAL_MS 100

static void tell_progress(ExportProgress *progress, uint64_t bytes)
{
	struct timespec now;
	int64_t now_ms;

	progress->bytes += bytes;
	if (!progress->tell)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	if (now_ms - progress->last_ms < PROGRESS_INTERVAL_MS)
		return;
	progress->last_ms = now_ms;
	progress->tell(progress->bytes < progress->total ? progress->bytes : progress->total,
		       progress->total);
}

static int write_inline(Extfs *fs, Packer *packer, const ExtInode *inode, const TarMember *member,
			Error **err)
{
	auto_free char *data = NULL;

	if (extfs_read_file(fs, inode, EXTFS_MAX_INODE_SIZE, &data, err) < 0 ||
	    tar_write_header(packer, member, err) < 0 ||
	    packer_add(packer, data, inode->size, err) < 0)
		return -1;
	return tar_write_padding(packer, err);
}

/* Runs that follow each other in the file are one piece, wherever they lie. The file's end cuts the last. */
static TarPiece *find_pieces(const Extfs *fs, const ExtMap *map, uint64_t file_size,
			     size_t *out_count, uint64_t *out_bytes)
{
	TarPiece *pieces = xcalloc(map->count + 1, sizeof(*pieces));
	size_t count = 0;

	*out_bytes = 0;
	for (size_t i = 0; i < map->count; i++) {
		uint64_t at = map->runs[i].logical * fs->block_size;
		uint64_t size = map->runs[i].count * fs->block_size;

		if (size > file_size - at)
			size = file_size - at;
		if (count > 0 && pieces[count - 1].at + pieces[count - 1].size == at)
			pieces[count - 1].size += size;
		else
			pieces[count++] = (TarPiece){ at, size };
		*out_bytes += size;
	}
	*out_count = count;
	return pieces;
}

static int copy_run(Extfs *fs, Packer *packer, uint64_t at, uint64_t size, ExportProgress *progress,
		    Error **err)
{
	while (size > 0) {
		uint8_t *room;
		size_t part;

		if (packer_room(packer, &room, &part, err) < 0)
			return -1;
		if (part > size)
			part = size;
		if (extfs_read_bytes(fs, at, room, part, err) < 0)
			return -1;
		packer_advance(packer, part);
		tell_progress(progress, part);
		at += part;
		size -= part;
	}
	return 0;
}

int export_file(Extfs *fs, Packer *packer, const ExtInode *inode, const TarMember *file,
		ExportProgress *progress, Error **err)
{
	TarMember member = *file;
	auto_ext_map ExtMap map = { 0 };
	auto_free TarPiece *pieces = NULL;
	uint64_t bytes;

	member.size = inode->size;
	if (extfs_is_inline(inode))
		return write_inline(fs, packer, inode, &member, err);
	if (extfs_map(fs, inode, &map, err) < 0)
		return -1;
	pieces = find_pieces(fs, &map, inode->size, &member.piece_count, &bytes);
	member.pieces = bytes < inode->size ? pieces : NULL;
	if (tar_write_header(packer, &member, err) < 0)
		return -1;
	for (size_t i = 0; i < map.count; i++) {
		const ExtRun *run = &map.runs[i];
		uint64_t size = run->count * fs->block_size;

		if (size > inode->size - run->logical * fs->block_size)
			size = inode->size - run->logical * fs->block_size;
		if (copy_run(fs, packer, run->physical * fs->block_size, size, progress, err) < 0)
			return -1;
	}
	return tar_write_padding(packer, err);
}

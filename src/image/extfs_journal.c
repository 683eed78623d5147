#include "image/extfs_format.h"
#include "util/mem.h"

/*
 * The journal, as far as one must know whether it is in use (Documentation/filesystems/ext4/journal.rst). Unlike all
 * else its numbers are big-endian.
 */

#define JOURNAL_MAGIC  0xc03b3998u
#define JOURNAL_HEADER 1024u /* of its superblock, the beginning */
#define JOURNAL_START  0x1cu /* where its first change is; 0: there is none */

static uint32_t get32be(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static int read_header(Extfs *fs, uint32_t number, uint8_t *header, uint64_t *out_blocks,
		       Error **err)
{
	auto_free ExtInode *inode = xmalloc(sizeof(*inode));
	auto_ext_map ExtMap map = { 0 };

	if (extfs_read_own_inode(fs, number, inode, err) < 0 || extfs_map(fs, inode, &map, err) < 0)
		return -1;
	if (map.count == 0 || map.runs[0].logical != 0)
		return extfs_damaged(err, "its journal is empty");
	*out_blocks = inode->size / fs->block_size;
	return extfs_read_bytes(fs, map.runs[0].physical * fs->block_size, header, JOURNAL_HEADER,
				err);
}

bool extfs_journal_is_used(Extfs *fs, uint32_t number, uint64_t *out_blocks)
{
	uint64_t blocks_left = fs->blocks_left;
	uint8_t header[JOURNAL_HEADER];
	int result;

	*out_blocks = 0;
	result = read_header(fs, number, header, out_blocks, NULL);
	fs->blocks_left = blocks_left;
	return result < 0 || get32be(header) != JOURNAL_MAGIC || get32be(header + JOURNAL_START);
}

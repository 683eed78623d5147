#include "image/run_document.h"

#include <jansson.h>
#include <sys/stat.h>

#include "image/oci.h"
#include "util/mem.h"

int run_document_parse(const char *text, size_t length, ImageConfig *out, Error **err)
{
	json_auto_t *doc = NULL;

	if (oci_parse_object(text, length, &doc, err) < 0)
		return -1;
	return image_config_from_json(doc, out, err);
}

static int read_document(Extfs *fs, ImageConfig *out, Error **err)
{
	auto_free ExtInode *inode = xmalloc(sizeof(*inode));
	auto_free char *text = NULL;
	int found = extfs_walk(fs, RUN_DOCUMENT_PATH, inode, err);

	if (found <= 0)
		return found;
	if (!S_ISREG(inode->mode))
		return 0;
	if (extfs_read_file(fs, inode, RUN_DOCUMENT_MAX, &text, err) < 0 ||
	    run_document_parse(text, inode->size, out, err) < 0)
		return -1;
	return 1;
}

int run_document_find(Extfs *fs, ImageConfig *out, Error **err)
{
	uint64_t blocks_left = fs->blocks_left;
	int found = read_document(fs, out, err);

	fs->blocks_left = blocks_left;
	return found < 0 ? error_wrap(err, "'/%s'", RUN_DOCUMENT_PATH) : found;
}

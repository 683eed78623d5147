#include "storage/qcow2_layers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "storage/qcow2_read.h"
#include "util/fs.h"
#include "util/mem.h"

char *qcow2_file(const char *volume, const char *suffix)
{
	return xasprintf("%s%s", volume, suffix);
}

bool qcow2_file_exists(const char *dir, const char *volume, const char *suffix)
{
	auto_free char *path = xasprintf("%s/%s%s", dir, volume, suffix);

	return fs_exists(path);
}

char *qcow2_file_owner(const char *file)
{
	static const char *const suffixes[] = { QCOW2_RAW,   QCOW2_OVERLAY, QCOW2_LAYER_RAW,
						QCOW2_LAYER, QCOW2_ORIGIN,  QCOW2_IMPORT,
						QCOW2_NEXT,  QCOW2_FLAT };
	const char *dot = strchr(file, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(suffixes); i++)
		if (!strcmp(dot, suffixes[i]))
			return xstrndup(file, (size_t)(dot - file));
	return NULL;
}

bool qcow2_is_layer(const char *file)
{
	return str_ends_with(file, QCOW2_LAYER) || str_ends_with(file, QCOW2_LAYER_RAW) ||
	       str_ends_with(file, QCOW2_ORIGIN);
}

int qcow2_lock(const char *dir, bool exclusive, int *out_fd, Error **err)
{
	auto_fd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set_errno(err, errno, "open the store '%s'", dir);
	while (flock(fd, exclusive ? LOCK_EX : LOCK_SH) < 0)
		if (errno != EINTR)
			return error_set_errno(err, errno, "lock the store '%s'", dir);
	*out_fd = steal_fd(&fd);
	return 0;
}

void qcow2_links_release(Qcow2Links *links)
{
	for (size_t i = 0; i < links->count; i++) {
		free(links->items[i].file);
		free(links->items[i].backing);
	}
	free(links->items);
	*links = (Qcow2Links){ 0 };
}

static bool is_overlay(const char *file)
{
	return str_ends_with(file, QCOW2_OVERLAY) || str_ends_with(file, QCOW2_NEXT);
}

/* The header of a file goes last: until then it begins with zeroes. */
static bool is_blank(const char *dir, const char *file)
{
	auto_free char *path = path_join(dir, file);
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t head[8] = { 0 };

	return fd >= 0 && pread(fd, head, sizeof(head), 0) >= 0 && qcow2_get64(head) == 0;
}

int qcow2_links_read(const char *dir, Qcow2Links *out_links, Error **err)
{
	auto_qcow2_links Qcow2Links links = { 0 };
	auto_strv Strv files = { 0 };

	if (fs_list(dir, &files, err) < 0)
		return -1;
	links.items = xcalloc(files.count + 1, sizeof(*links.items));
	for (size_t i = 0; i < files.count; i++) {
		auto_error cause = NULL;
		Qcow2Header header;
		bool readable;

		if (!is_overlay(files.items[i]))
			continue;
		readable = qcow2_read_header(dir, files.items[i], &header, &cause) == 0;
		/* One that was begun and never finished names nothing; the whole file comes after its name. */
		if (!readable &&
		    (error_code(cause) == ERR_NOT_FOUND || is_blank(dir, files.items[i])))
			continue;
		links.items[links.count++] =
			(Qcow2Link){ .file = xstrdup(files.items[i]),
				     .backing = readable ? xstrdup(header.backing) : NULL };
	}
	*out_links = links;
	links = (Qcow2Links){ 0 };
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const Qcow2Link *)a)->file, ((const Qcow2Link *)b)->file);
}

const char *qcow2_links_backing(const Qcow2Links *links, const char *file)
{
	Qcow2Link key = { .file = (char *)(uintptr_t)file };
	const Qcow2Link *found = bsearch(&key, links->items, links->count, sizeof(key), compare);

	return found ? found->backing : NULL;
}

bool qcow2_links_need(const Qcow2Links *links, const char *layer, const Strv *doomed)
{
	for (size_t i = 0; i < links->count; i++)
		if ((!links->items[i].backing || !strcmp(links->items[i].backing, layer)) &&
		    !strv_has(doomed, links->items[i].file))
			return true;
	return false;
}

void qcow2_links_collect(const char *dir, const Qcow2Links *links, Strv *doomed)
{
	/* The list grows while it is gone through. */
	for (size_t i = 0; i < doomed->count; i++) {
		const char *backing = qcow2_links_backing(links, doomed->items[i]);
		auto_free char *path = NULL;

		if (str_is_empty(backing) || strv_has(doomed, backing) ||
		    qcow2_links_need(links, backing, doomed))
			continue;
		path = path_join(dir, backing);
		if (fs_exists(path))
			strv_push(doomed, backing);
	}
}

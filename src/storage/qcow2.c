/*
 * The store is a plain directory of overlays: any filesystem will do, and no privilege is needed.
 */
#include "storage/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/qcow2_layers.h"
#include "storage/storages.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* Sealed volumes get a second name when they are cloned: the filesystem must have hard links. */
static int probe_links(const char *dir, char **out_reason)
{
	auto_free char *one = xasprintf("%s/.ember-link-%d", dir, (int)getpid());
	auto_free char *other = xasprintf("%s-2", one);
	auto_fd fd = open(one, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int linked;

	if (fd < 0) {
		*out_reason = xasprintf("'%s' cannot be written to: %s", dir, strerror(errno));
		return 0;
	}
	linked = link(one, other) == 0;
	if (linked)
		*out_reason = xasprintf("overlays on images, which any filesystem and user will "
					"do for; QEMU runs them");
	else
		*out_reason = xasprintf("the filesystem of '%s' has no hard links", dir);
	(void)unlink(other);
	(void)unlink(one);
	return linked;
}

static int qcow2_probe(const StorageSite *site, char **out_reason, Error **err UNUSED)
{
	auto_free char *dir = fs_nearest_existing(site->store_dir);

	return probe_links(dir, out_reason);
}

static int qcow2_init(const StorageSite *site, bool *out_adopted, Error **err)
{
	auto_free char *reason = NULL;
	bool existed = fs_exists(site->store_dir);
	auto_strv Strv files = { 0 };

	if (qcow2_probe(site, &reason, err) <= 0) {
		error_set(err, ERR_UNSUPPORTED, "%s", reason);
		return error_hint(err, "put the state elsewhere: ember --state-dir DIR init");
	}
	if (clonefile_prepare(site->store_dir, err) < 0 ||
	    fs_list(site->store_dir, &files, err) < 0)
		return -1;
	*out_adopted = existed && files.count > 0;
	return 0;
}

static int qcow2_open(const StorageSite *site, StoragePool **out_pool, Error **err)
{
	return clonefile_open(site->store_dir, /* host_file= */ NULL, out_pool, err);
}

static int qcow2_deinit(const StorageSite *site, bool purge, Error **err)
{
	if (!purge)
		return 0;
	if (failpoint("storage.purge", err) < 0)
		return -1;
	return fs_remove_tree(site->store_dir, err);
}

static int qcow2_check(const StorageSite *site, char **out_reason, Error **err UNUSED)
{
	if (fs_exists(site->store_dir))
		return 1;
	*out_reason = xasprintf("the store '%s' is missing", site->store_dir);
	return 0;
}

void qcow2_volume_release(Qcow2Volume *volume)
{
	free(volume->file);
	*volume = (Qcow2Volume){ 0 };
}

int qcow2_find(const StoragePool *pool, const char *volume, Qcow2Volume *out_found, Error **err)
{
	static const char *const suffixes[] = { QCOW2_OVERLAY, QCOW2_RAW };
	struct stat st;

	if (storage_check_name(volume, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		auto_free char *path = xasprintf("%s/%s%s", pool->dir, volume, suffixes[i]);

		if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		*out_found = (Qcow2Volume){ .file = qcow2_file(volume, suffixes[i]),
					    .is_raw = !strcmp(suffixes[i], QCOW2_RAW),
					    .is_sealed = !(st.st_mode & S_IWUSR),
					    .inode = st.st_ino };
		return 0;
	}
	error_set(err, ERR_NOT_FOUND, "the disk '%s/%s" QCOW2_OVERLAY "' is missing", pool->dir,
		  volume);
	return error_hint(err, "see what else is wrong: ember doctor");
}

bool qcow2_is_same(const StoragePool *pool, const char *one, const char *other)
{
	auto_free char *one_path = path_join(pool->dir, one);
	auto_free char *other_path = path_join(pool->dir, other);
	struct stat a, b;

	return stat(one_path, &a) == 0 && stat(other_path, &b) == 0 && a.st_ino == b.st_ino;
}

int qcow2_check_size(uint64_t size_bytes, Error **err)
{
	if (size_bytes <= QCOW2_SIZE_MAX)
		return 0;
	error_set(err, ERR_USAGE, "a disk of %llu bytes is too large",
		  (unsigned long long)size_bytes);
	return error_hint(err, "a disk has at most %lluT here", QCOW2_SIZE_MAX >> 40);
}

int qcow2_remove(const StoragePool *pool, const Strv *files, Error **err)
{
	for (size_t i = files->count; i-- > 0;) {
		auto_free char *path = path_join(pool->dir, files->items[i]);

		if (fs_remove(path, err) < 0)
			return -1;
	}
	return 0;
}

static int open_volume(const StoragePool *pool, const Qcow2Volume *found, int flags, int *out_fd,
		       Error **err)
{
	auto_free char *path = path_join(pool->dir, found->file);
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return error_set_errno(err, errno, "open disk '%s'", path);
	*out_fd = fd;
	return 0;
}

static int qcow2_seal(StoragePool *pool, const char *volume, Error **err)
{
	auto_qcow2_volume Qcow2Volume found = { 0 };
	auto_fd fd = -1;

	if (qcow2_find(pool, volume, &found, err) < 0 ||
	    open_volume(pool, &found, O_RDONLY, &fd, err) < 0)
		return -1;
	if (failpoint("storage.seal.volume", err) < 0)
		return -1;
	if (fchmod(fd, 0444) < 0)
		return error_set_errno(err, errno, "seal disk '%s'", volume);
	return failpoint("storage.seal.volume.sync", err) < 0 ? -1 : fs_sync_fd(fd, volume, err);
}

static int volume_bytes(const StoragePool *pool, const Qcow2Volume *found, uint64_t *out_bytes,
			Error **err)
{
	auto_free char *path = path_join(pool->dir, found->file);
	Qcow2Header header;
	struct stat st;

	if (!found->is_raw) {
		if (qcow2_read_header(pool->dir, found->file, &header, err) < 0)
			return -1;
		*out_bytes = header.size_bytes;
		return 0;
	}
	if (stat(path, &st) < 0)
		return error_set_errno(err, errno, "look at disk '%s'", path);
	*out_bytes = (uint64_t)st.st_size;
	return 0;
}

static int qcow2_size(StoragePool *pool, const char *volume, uint64_t *out_bytes, Error **err)
{
	auto_qcow2_volume Qcow2Volume found = { 0 };

	return qcow2_find(pool, volume, &found, err) < 0
		       ? -1
		       : volume_bytes(pool, &found, out_bytes, err);
}

/*
 * The table of a disk has room for any size from the start, so that it grows by one number of its header. A hypervisor that
 * has it open writes the same number next; where a clone that was cut off has left it writing to the layer below
 * (qcow2_clone.c), this is what keeps the disk from being smaller than that layer at its next boot.
 */
static int write_size(int fd, uint64_t size_bytes, const char *volume, Error **err)
{
	uint8_t size[8];

	qcow2_put64(size, size_bytes);
	if (pwrite(fd, size, sizeof(size), QCOW2_SIZE_AT) != (ssize_t)sizeof(size))
		return error_set_errno(err, errno, "grow disk '%s'", volume);
	return fs_sync_fd(fd, volume, err);
}

static int qcow2_resize(StoragePool *pool, const char *volume, uint64_t size_bytes,
			bool is_live UNUSED, Error **err)
{
	auto_qcow2_volume Qcow2Volume found = { 0 };
	auto_fd fd = -1;
	uint64_t now_bytes;

	if (qcow2_find(pool, volume, &found, err) < 0 ||
	    volume_bytes(pool, &found, &now_bytes, err) < 0 ||
	    qcow2_check_size(size_bytes, err) < 0)
		return -1;
	if (size_bytes < now_bytes)
		return error_set(err, ERR_USAGE, "a disk cannot shrink: it has %llu bytes",
				 (unsigned long long)now_bytes);
	if (size_bytes == now_bytes)
		return 0;
	if (found.is_sealed)
		return error_set(err, ERR_FAILED, "the disk '%s' is sealed", volume);
	if (failpoint("storage.resize", err) < 0 || open_volume(pool, &found, O_RDWR, &fd, err) < 0)
		return -1;
	return write_size(fd, size_bytes, volume, err);
}

static int qcow2_attach(StoragePool *pool, const char *volume, StorageDisk *out_disk, Error **err)
{
	auto_qcow2_volume Qcow2Volume found = { 0 };
	auto_free char *flat = xasprintf("%s/%s" QCOW2_FLAT, pool->dir, volume);

	if (qcow2_find(pool, volume, &found, err) < 0)
		return -1;
	/* Who optimizes it in the background ends: whoever opens it now wants the disk for himself. */
	if (!found.is_sealed)
		(void)unlink(flat);
	*out_disk = (StorageDisk){ .path = path_join(pool->dir, found.file),
				   .format = found.is_raw ? DISK_RAW : DISK_QCOW2 };
	return 0;
}

static bool has_other_name(const StoragePool *pool, const char *file)
{
	auto_free char *path = path_join(pool->dir, file);
	struct stat st;

	return stat(path, &st) == 0 && st.st_nlink > 1;
}

/* What crashes have left: a layer that no overlay names and that is no second name of a volume. */
static int list_unused(const StoragePool *pool, const Strv *layers, Strv *out_volumes, Error **err)
{
	auto_qcow2_links Qcow2Links links = { 0 };
	Strv nothing = { 0 };

	if (!layers->count)
		return 0;
	if (qcow2_links_read(pool->dir, &links, err) < 0)
		return -1;
	for (size_t i = 0; i < layers->count; i++) {
		auto_free char *owner = qcow2_file_owner(layers->items[i]);

		if (!qcow2_links_need(&links, layers->items[i], &nothing) &&
		    !strv_has(out_volumes, owner))
			strv_push(out_volumes, owner);
	}
	return 0;
}

static int qcow2_list(StoragePool *pool, Strv *out_volumes, Error **err)
{
	auto_strv Strv files = { 0 };
	auto_strv Strv layers = { 0 };

	if (fs_list(pool->dir, &files, err) < 0)
		return -1;
	for (size_t i = 0; i < files.count; i++) {
		auto_free char *owner = qcow2_file_owner(files.items[i]);

		if (!owner || storage_check_name(owner, NULL) < 0)
			continue;
		if (qcow2_is_layer(files.items[i])) {
			if (!has_other_name(pool, files.items[i]))
				strv_push(&layers, files.items[i]);
		} else if (!strv_has(out_volumes, owner)) {
			strv_push_take(out_volumes, steal(&owner));
		}
	}
	return list_unused(pool, &layers, out_volumes, err);
}

static const char *const layer_suffixes[] = { QCOW2_LAYER, QCOW2_LAYER_RAW, QCOW2_ORIGIN };

/* A layer that has another name does not go with this one, nor does what it stands on. */
static bool may_free_layers(const StoragePool *pool, const char *volume, const Strv *doomed)
{
	auto_error cause = NULL;
	Qcow2Header header;

	for (size_t i = 0; i < ARRAY_SIZE(layer_suffixes); i++)
		if (qcow2_file_exists(pool->dir, volume, layer_suffixes[i]))
			return true;
	for (size_t i = 0; i < doomed->count; i++)
		if (str_ends_with(doomed->items[i], QCOW2_OVERLAY) &&
		    qcow2_read_header(pool->dir, doomed->items[i], &header, &cause) == 0 &&
		    *header.backing && !has_other_name(pool, header.backing))
			return true;
	return false;
}

static void add_existing(const StoragePool *pool, const char *volume, const char *suffix,
			 Strv *files)
{
	if (qcow2_file_exists(pool->dir, volume, suffix))
		strv_push_take(files, qcow2_file(volume, suffix));
}

/* The volume's own layers, unless others need them, and then whatever only they needed. */
static int collect_layers(const StoragePool *pool, const char *volume, Strv *doomed, Error **err)
{
	auto_qcow2_links Qcow2Links links = { 0 };

	if (qcow2_links_read(pool->dir, &links, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(layer_suffixes); i++) {
		auto_free char *layer = qcow2_file(volume, layer_suffixes[i]);

		if (!qcow2_links_need(&links, layer, doomed))
			add_existing(pool, volume, layer_suffixes[i], doomed);
	}
	qcow2_links_collect(pool->dir, &links, doomed);
	return 0;
}

/* Not synced: see clonefile_destroy(). The volume itself goes last: as long as it is there, it leads to what is left. */
static int qcow2_destroy(StoragePool *pool, const char *volume, Error **err)
{
	static const char *const suffixes[] = { QCOW2_OVERLAY, QCOW2_RAW, QCOW2_NEXT, QCOW2_IMPORT,
						QCOW2_FLAT };
	auto_strv Strv doomed = { 0 };
	auto_fd lock = -1;

	if (storage_check_name(volume, err) < 0 || failpoint("storage.destroy", err) < 0 ||
	    qcow2_lock(pool->dir, /* exclusive= */ true, &lock, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		add_existing(pool, volume, suffixes[i], &doomed);
	if (may_free_layers(pool, volume, &doomed) &&
	    collect_layers(pool, volume, &doomed, err) < 0)
		return -1;
	return qcow2_remove(pool, &doomed, err);
}

/* What was imported is a raw file, and everything else an overlay. */
static char *qcow2_path(const StorageSite *site, const char *volume)
{
	bool is_raw = qcow2_file_exists(site->store_dir, volume, QCOW2_RAW);

	return xasprintf("%s/%s%s", site->store_dir, volume, is_raw ? QCOW2_RAW : QCOW2_OVERLAY);
}

const StorageBackend qcow2_storage = {
	.name = "qcow2",
	.summary = "overlays on images in the state directory, for QEMU",
	.probe = qcow2_probe,
	.init = qcow2_init,
	.open = qcow2_open,
	.close = clonefile_close,
	.deinit = qcow2_deinit,
	.import_path = clonefile_import_path,
	.import_commit = clonefile_import_commit,
	.clone = qcow2_clone,
	.seal = qcow2_seal,
	.destroy = qcow2_destroy,
	.resize = qcow2_resize,
	.attach = qcow2_attach,
	.list = qcow2_list,
	.path = qcow2_path,
	.size = qcow2_size,
	.capacity = clonefile_capacity,
	.usage = qcow2_usage,
	.optimize = qcow2_optimize,
	.read = qcow2_read,
	.copy_out = qcow2_copy_out,
	.copy_in = qcow2_copy_in,
	.check = qcow2_check,
};

/*
 * Parents and clones. A zvol cannot be destroyed while something was cloned from it, so it is hidden
 * under another name until its last clone goes: destroying a volume always succeeds at once, and
 * never touches what was made of it.
 */
#include <string.h>

#include "storage/zfs.h"
#include "util/failpoint.h"
#include "util/mem.h"

/* A clone that appears between our look and our act makes us look again. */
#define TRIES 5

void zfs_volume_release(ZfsVolume *volume)
{
	free(volume->guid);
	free(volume->origin);
	free(volume->newest);
	*volume = (ZfsVolume){ 0 };
}

bool zfs_is_whole(const ZfsVolume *volume)
{
	return volume->is_sealed || volume->origin;
}

static bool is_missing(Error **err)
{
	if (error_code(*err) != ERR_NOT_FOUND)
		return false;
	error_clear(err);
	return true;
}

static char *none_or_copy(const char *field)
{
	return *field && strcmp(field, "-") != 0 ? xstrdup(field) : NULL;
}

static void read_family(char *text, ZfsVolume *out)
{
	char *fields[ZFS_FIELDS_MAX];

	while (zfs_next_row(&text, fields)) {
		const char *snapshot = strchr(fields[0], '@');

		if (snapshot) {
			str_assign(&out->newest, snapshot + 1);
			if (!strcmp(snapshot + 1, ZFS_SEALED_AS))
				out->is_sealed = true;
			if (*fields[5] && strcmp(fields[5], "-") != 0)
				out->has_clones = true;
			continue;
		}
		out->size_bytes = zfs_figure(fields[1]);
		out->origin = none_or_copy(fields[2]);
		out->guid = none_or_copy(fields[3]);
		out->written_bytes = zfs_figure(fields[4]);
	}
}

int zfs_look(const StoragePool *pool, const char *name, bool with_clones, ZfsVolume *out,
	     Error **err)
{
	auto_zfs_volume ZfsVolume found = { 0 };
	auto_command Command cmd = { 0 };
	auto_free char *full = NULL;
	auto_error cause = NULL;

	full = xasprintf("%s/%s", pool->dataset, name);
	/* The oldest first, and so the volume itself before its snapshots. */
	if (zfs_ask(&cmd, &cause, "zfs", "list", "-Hp", "-d", "1", "-t", "volume,snapshot", "-s",
		    "createtxg", "-o",
		    with_clones ? "name,volsize,origin,guid,written,clones"
				: "name,volsize,origin,guid",
		    full, NULL) < 0) {
		if (is_missing(&cause))
			return 0;
		error_move(err, &cause);
		return error_wrap(err, "look at disk '%s'", name);
	}
	read_family(cmd.output.text, &found);
	*out = found;
	found = (ZfsVolume){ 0 };
	return 1;
}

/* `what` is a volume with its snapshots, or a snapshot. Missing is success; ERR_BUSY when it is in use for long, or has
 * clones. */
static int destroy_now(const char *what, Error **err)
{
	auto_error cause = NULL;
	int result = strchr(what, '@') ? zfs_insist(&cause, "zfs", "destroy", what, NULL)
				       : zfs_insist(&cause, "zfs", "destroy", "-r", what, NULL);

	if (result == 0 || is_missing(&cause))
		return 0;
	error_move(err, &cause);
	return -1;
}

/* What it was written after its newest clone was made belongs to nobody any more. If that cannot be given back now, it is
 * with the last clone. */
static void drop_writes(const char *name, const ZfsVolume *volume)
{
	auto_free char *snapshot = xasprintf("%s@%s", name, volume->newest);

	if (volume->written_bytes)
		(void)zfs_do(NULL, "zfs", "rollback", snapshot, NULL);
}

static int hide(const StoragePool *pool, const char *volume, const ZfsVolume *found, Error **err)
{
	auto_free char *now = xasprintf("%s/%s", pool->dataset, volume);
	auto_free char *hidden = xasprintf("%s/" ZFS_HIDDEN_AS "%s", pool->dataset, found->guid);

	if (failpoint("storage.zfs.hide", err) < 0 ||
	    zfs_do(err, "zfs", "rename", now, hidden, NULL) < 0)
		return -1;
	drop_writes(hidden, found);
	return 0;
}

/* Its clones are listed, or a clone has just been made. 1 it is gone, 0 it has clones. */
static int destroy_unless_cloned(const StoragePool *pool, const char *name, const ZfsVolume *found,
				 Error **err)
{
	auto_free char *full = xasprintf("%s/%s", pool->dataset, name);
	auto_error cause = NULL;

	if (found->has_clones)
		return 0;
	if (failpoint("storage.zfs.destroy", err) < 0)
		return -1;
	if (destroy_now(full, &cause) == 0)
		return 1;
	if (error_code(cause) == ERR_BUSY && !strstr(error_text(cause), "is busy"))
		return 0;
	error_move(err, &cause);
	return -1;
}

/* The name below our dataset of the volume that has the snapshot; NULL: it is elsewhere. Owned. */
static char *owner_of(const StoragePool *pool, const char *snapshot)
{
	size_t len = strlen(pool->dataset);

	if (strncmp(snapshot, pool->dataset, len) != 0 || snapshot[len] != '/')
		return NULL;
	return xstrndup(snapshot + len + 1, strcspn(snapshot + len + 1, "@"));
}

/* A hidden volume goes when it has no clones any more. 1 it is gone, and *out_origin is what it was cloned from; 0 it has
 * clones, or somebody has it open: then it is for a later sweep, and whoever is destroying something else need not fail. */
static int destroy_hidden(const StoragePool *pool, const char *name, char **out_origin, Error **err)
{
	auto_zfs_volume ZfsVolume found = { 0 };
	auto_error cause = NULL;
	int gone = zfs_look(pool, name, /* with_clones= */ true, &found, err);

	if (gone <= 0)
		return gone;
	gone = destroy_unless_cloned(pool, name, &found, &cause);
	if (gone > 0)
		*out_origin = steal(&found.origin);
	if (gone >= 0 || error_code(cause) == ERR_BUSY)
		return gone > 0;
	error_move(err, &cause);
	return -1;
}

/* A clone of that snapshot has gone. So does the snapshot, unless it seals a volume, and the volume behind it, if it was
 * only waiting for that; and so on to the root of the family. */
static int collect(const StoragePool *pool, const char *origin, Error **err)
{
	auto_free char *next = xstrdup_null(origin);

	while (next) {
		auto_free char *snapshot = steal(&next);
		auto_free char *owner = owner_of(pool, snapshot);
		auto_error cause = NULL;
		int gone;

		if (!owner || failpoint("storage.zfs.collect", err) < 0)
			return owner ? -1 : 0;
		if (!str_ends_with(snapshot, "@" ZFS_SEALED_AS) &&
		    destroy_now(snapshot, &cause) < 0 && error_code(cause) != ERR_BUSY) {
			error_move(err, &cause);
			return -1;
		}
		if (!str_starts_with(owner, ZFS_HIDDEN_AS))
			return 0;
		gone = destroy_hidden(pool, owner, &next, err);
		if (gone <= 0)
			return gone;
	}
	return 0;
}

/* One row of what is there: is it a snapshot made for `volume` that was never cloned, or a hidden volume without clones? */
static int sweep_one(const StoragePool *pool, const char *name, const char *volume, Error **err)
{
	auto_free char *owner = owner_of(pool, name);
	auto_free char *origin = NULL;
	const char *snapshot = strchr(name, '@');
	int gone;

	if (!owner)
		return 0;
	if (snapshot)
		return strcmp(snapshot + 1, volume) != 0 ? 0 : collect(pool, name, err);
	if (!str_starts_with(owner, ZFS_HIDDEN_AS))
		return 0;
	gone = destroy_hidden(pool, owner, &origin, err);
	return gone <= 0 ? gone : collect(pool, origin, err);
}

int zfs_sweep(const StoragePool *pool, const char *volume, Error **err)
{
	auto_command Command cmd = { 0 };
	char *fields[ZFS_FIELDS_MAX];
	char *text;

	if (zfs_ask(&cmd, err, "zfs", "list", "-Hpr", "-t", "volume,snapshot", "-o", "name",
		    pool->dataset, NULL) < 0)
		return -1;
	text = cmd.output.text;
	while (zfs_next_row(&text, fields))
		if (sweep_one(pool, fields[0], volume, err) < 0)
			return -1;
	return 0;
}

int zfs_destroy_family(const StoragePool *pool, const char *volume, Error **err)
{
	for (int i = 0; i < TRIES; i++) {
		auto_zfs_volume ZfsVolume found = { 0 };
		int gone = zfs_look(pool, volume, /* with_clones= */ true, &found, err);

		if (gone <= 0)
			return gone < 0 ? -1 : zfs_sweep(pool, volume, err);
		if (found.has_clones)
			return hide(pool, volume, &found, err);
		gone = destroy_unless_cloned(pool, volume, &found, err);
		if (gone < 0)
			return -1;
		if (gone > 0)
			return collect(pool, found.origin, err);
	}
	return error_set(err, ERR_BUSY, "disk '%s' is being copied again and again", volume);
}

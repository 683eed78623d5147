#include "image/export.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/export_file.h"
#include "image/extfs_format.h"
#include "image/links.h"
#include "image/tarwrite.h"
#include "util/mem.h"
#include "util/str.h"

/* A directory whose names are being gone through. */
typedef struct Frame {
	ExtNames names;
	size_t next;
	size_t path_length; /* of the directory, with its "/" */
} Frame;

/* What was left out, or lost something. */
typedef struct Losses {
	uint64_t sockets;
	uint64_t markers; /* named like a layer's whiteouts */
	uint64_t flagged; /* immutable or append-only */
	uint64_t found;	  /* in lost+found */
} Losses;

typedef struct Export {
	const ExportPlan *plan;
	ExtInode inode; /* the one at hand */
	Links links;
	Frame *frames;
	size_t depth;
	char path[EXPORT_MAX_PATH + 2]; /* with the "/" behind a directory */
	size_t path_length;
	uint64_t names; /* listed so far */
	uint64_t entries;
	Losses losses;
	ExportProgress progress;
} Export;

static void export_release(Export *export)
{
	for (size_t i = 0; i < export->depth; i++)
		ext_names_release(&export->frames[i].names);
	free(export->frames);
	links_release(&export->links);
}

static const char *kind_path(const Export *export)
{
	return export->path[0] ? export->path : "./";
}

static TarMember describe(const Export *export, TarType type)
{
	const ExtInode *inode = &export->inode;

	return (TarMember){
		.type = type,
		.path = kind_path(export),
		.mode = inode->mode & 07777,
		.uid = inode->uid,
		.gid = inode->gid,
		.major = inode->major,
		.minor = inode->minor,
		.mtime = inode->mtime,
		.mtime_ns = inode->mtime_ns,
	};
}

static int write_plain(Export *export, TarMember member, Error **err)
{
	auto_ext_xattrs ExtXattrs xattrs = { 0 };

	if (extfs_xattrs(export->plan->fs, &export->inode, &xattrs, err) < 0)
		return -1;
	member.xattrs = &xattrs;
	if (member.type == TAR_FILE)
		return export_file(export->plan->fs, export->plan->packer, &export->inode, &member,
				   &export->progress, err);
	return tar_write_header(export->plan->packer, &member, err);
}

static int write_symlink(Export *export, Error **err)
{
	TarMember member = describe(export, TAR_SYMLINK);
	auto_free char *target = NULL;

	if (extfs_read_link(export->plan->fs, &export->inode, &target, err) < 0)
		return -1;
	member.target = target;
	return write_plain(export, member, err);
}

static int enter_directory(Export *export, Error **err)
{
	TarMember member = describe(export, TAR_DIRECTORY);
	Frame frame = { .path_length = export->path_length };

	if (links_find(&export->links, export->inode.number))
		return extfs_damaged(err, "a directory has two names");
	if (export->depth == EXPORT_MAX_DEPTH)
		return error_set(err, ERR_UNSUPPORTED, "directories are more than %u deep",
				 EXPORT_MAX_DEPTH);
	if (links_add(&export->links, export->inode.number, "", err) < 0)
		return -1;
	if (export->path_length > 0) {
		export->path[export->path_length++] = '/';
		export->path[export->path_length] = '\0';
		frame.path_length = export->path_length;
	}
	if (write_plain(export, member, err) < 0 ||
	    extfs_list(export->plan->fs, &export->inode, EXPORT_MAX_NAMES - export->names,
		       &frame.names, err) < 0)
		return -1;
	export->names += frame.names.count;
	export->frames = xreallocarray(export->frames, export->depth + 1, sizeof(*export->frames));
	export->frames[export->depth++] = frame;
	return 0;
}

/* What may have several names: 1 when this is not the first, and has been written as a link. */
static int link_to_first(Export *export, Error **err)
{
	TarMember member = describe(export, TAR_HARD_LINK);

	if (export->inode.links < 2)
		return 0;
	member.target = links_find(&export->links, export->inode.number);
	if (member.target)
		return tar_write_header(export->plan->packer, &member, err) < 0 ? -1 : 1;
	return links_add(&export->links, export->inode.number, export->path, err);
}

static int write_entry(Export *export, Error **err)
{
	TarMember member;
	int linked = 0;

	if (S_ISSOCK(export->inode.mode)) {
		export->losses.sockets++;
		return 0;
	}
	export->entries++;
	export->losses.flagged += !!(export->inode.flags & (EXT2_IMMUTABLE_FL | EXT2_APPEND_FL));
	if (S_ISDIR(export->inode.mode))
		return enter_directory(export, err);
	linked = link_to_first(export, err);
	if (linked != 0)
		return linked < 0 ? -1 : 0;
	switch (export->inode.mode & S_IFMT) {
	case S_IFREG:
		member = describe(export, TAR_FILE);
		break;
	case S_IFLNK:
		return write_symlink(export, err);
	case S_IFCHR:
		member = describe(export, TAR_CHARACTER_DEVICE);
		break;
	case S_IFBLK:
		member = describe(export, TAR_BLOCK_DEVICE);
		break;
	case S_IFIFO:
		member = describe(export, TAR_FIFO);
		break;
	default:
		return extfs_damaged(err, "inode %u is of no kind", export->inode.number);
	}
	return write_plain(export, member, err);
}

/* The link that the import puts where a guest's resolver looks (seed.c); an image's own is kept. */
static int is_seeded_link(Export *export, Error **err)
{
	auto_free char *target = NULL;

	if (!S_ISLNK(export->inode.mode))
		return 0;
	if (extfs_read_link(export->plan->fs, &export->inode, &target, err) < 0)
		return -1;
	return !strcmp(target, "/run/ember/resolv.conf");
}

/* What a guest has there besides our stamp is its own: ember itself keeps its state there, when it runs in a guest. */
static int holds_only_stamp(Export *export, Error **err)
{
	auto_ext_names ExtNames names = { 0 };

	if (extfs_list(export->plan->fs, &export->inode, EXPORT_MAX_NAMES, &names, err) < 0)
		return -1;
	return names.count == 1 && !strcmp(names.bytes + names.items[0].at, "id");
}

/* 1 when the inode at hand is to be left out. */
static int is_left_out(Export *export, const char *name, Error **err)
{
	const char *path = export->path;
	bool is_directory = S_ISDIR(export->inode.mode);

	if (is_directory && !strcmp(path, "lost+found")) {
		auto_ext_names ExtNames names = { 0 };

		if (extfs_list(export->plan->fs, &export->inode, EXPORT_MAX_NAMES, &names, err) < 0)
			return -1;
		export->losses.found = names.count;
		return 1;
	}
	if (export->plan->is_layer && str_starts_with(name, ".wh.")) {
		export->losses.markers++;
		return 1;
	}
	if (export->plan->keep_seed)
		return 0;
	if ((is_directory && !strcmp(path, "usr/lib/ember")) || !strcmp(path, "var/lib/ember/id"))
		return 1;
	if (is_directory && !strcmp(path, "var/lib/ember"))
		return holds_only_stamp(export, err);
	return strcmp(path, "etc/resolv.conf") != 0 ? 0 : is_seeded_link(export, err);
}

static int take_name(Export *export, const Frame *frame, const ExtName *name, Error **err)
{
	const char *text = frame->names.bytes + name->at;
	int skip;

	export->path_length = frame->path_length;
	if (export->path_length + name->length > EXPORT_MAX_PATH)
		return error_set(err, ERR_UNSUPPORTED, "a path is longer than %u bytes",
				 EXPORT_MAX_PATH);
	memcpy(export->path + export->path_length, text, (size_t)name->length + 1);
	export->path_length += name->length;
	if (extfs_read_inode(export->plan->fs, name->inode, &export->inode, err) < 0)
		return -1;
	skip = is_left_out(export, text, err);
	if (skip != 0)
		return skip < 0 ? -1 : 0;
	return write_entry(export, err);
}

static int walk(Export *export, Error **err)
{
	if (extfs_read_inode(export->plan->fs, EXTFS_ROOT, &export->inode, err) < 0)
		return -1;
	if (!S_ISDIR(export->inode.mode))
		return extfs_damaged(err, "its root is no directory");
	if (write_entry(export, err) < 0)
		return -1;
	while (export->depth > 0) {
		Frame *frame = &export->frames[export->depth - 1];

		if (frame->next == frame->names.count) {
			ext_names_release(&frame->names);
			export->depth--;
			continue;
		}
		if (take_name(export, frame, &frame->names.items[frame->next++], err) < 0)
			return -1;
	}
	return 0;
}

static void warn(const ExportPlan *plan, uint64_t count, const char *one, const char *many)
{
	auto_free char *text = NULL;

	if (count == 0 || !plan->on_warning)
		return;
	text = count == 1 ? xasprintf("1 %s", one)
			  : xasprintf("%llu %s", (unsigned long long)count, many);
	plan->on_warning(text);
}

static void tell_losses(const ExportPlan *plan, const Losses *losses)
{
	warn(plan, losses->sockets, "socket is left out: a tar cannot hold it",
	     "sockets are left out: a tar cannot hold them");
	warn(plan, losses->markers,
	     "file is left out: in a layer its name (.wh.*) means a deletion",
	     "files are left out: in a layer their names (.wh.*) mean deletions");
	warn(plan, losses->flagged,
	     "file will not be immutable or append-only: a tar cannot say so",
	     "files will not be immutable or append-only: a tar cannot say so");
	warn(plan, losses->found, "file in /lost+found is left out",
	     "files in /lost+found are left out");
}

int export_tree(const ExportPlan *plan, uint64_t *out_entries, Error **err)
{
	auto_free Export *export = xcalloc(1, sizeof(*export));
	int result;

	export->plan = plan;
	export->progress.tell = plan->on_progress;
	export->progress.total = extfs_used_bytes(plan->fs);
	result = walk(export, err);
	if (result < 0) {
		auto_free char *path = str_make_printable(xstrdup(export->path));

		error_wrap(err, "'/%.300s'", path);
	} else {
		result = tar_write_end(plan->packer, err);
		if (plan->on_progress)
			plan->on_progress(export->progress.total, export->progress.total);
		tell_losses(plan, &export->losses);
		*out_entries = export->entries;
	}
	export_release(export);
	return result;
}

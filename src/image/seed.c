#include "image/seed.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "image/merge.h"
#include "image/walk.h"
#include "util/mem.h"

#define READ_SIZE (256u << 10)

static const char hosts[] = "127.0.0.1\tlocalhost\n"
			    "::1\tlocalhost ip6-localhost ip6-loopback\n"
			    "ff02::1\tip6-allnodes\n"
			    "ff02::2\tip6-allrouters\n";

static Inode *add(Layer *layer, const Tree *tree, const char *path, uint32_t mode)
{
	Inode *inode = inode_new(mode);

	inode->mtime = tree->created;
	layer_add(layer, ENTRY_FILE, xstrdup(path), NULL, inode);
	return inode;
}

static int add_text(Layer *layer, const Tree *tree, Disk *disk, const char *path, const char *text,
		    Error **err)
{
	Inode *inode = add(layer, tree, path, S_IFREG | 0644);

	inode->size = strlen(text);
	return disk_append(disk, inode, 0, text, inode->size, err);
}

static int add_program(Layer *layer, const Tree *tree, Disk *disk, const char *path, int fd,
		       Error **err)
{
	Inode *inode = add(layer, tree, path, S_IFREG | 0755);
	auto_free unsigned char *buffer = xmalloc(READ_SIZE);

	for (;;) {
		ssize_t got = pread(fd, buffer, READ_SIZE, (off_t)inode->size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "read the guest program");
		if (got == 0)
			return 0;
		if (disk_append(disk, inode, inode->size, buffer, (size_t)got, err) < 0)
			return -1;
		inode->size += (uint64_t)got;
	}
}

/* The name itself, a symlink not followed; NULL when it is not there. */
static const Node *look(Tree *tree, const char *dir, const char *name)
{
	Node *parent = walk_to_file(tree, dir);

	return parent && inode_is_directory(parent->inode)
		       ? tree_find(tree, parent, name, strlen(name))
		       : NULL;
}

static void add_mount_points(Layer *layer, Tree *tree)
{
	static const struct {
		const char *name;
		uint32_t permissions;
	} points[] = {
		{ "dev", 0755 }, { "proc", 0555 }, { "run", 0755 },
		{ "sys", 0555 }, { "tmp", 01777 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(points); i++)
		if (!look(tree, "", points[i].name))
			add(layer, tree, points[i].name, S_IFDIR | points[i].permissions);
}

/* A file of 0 bytes is what container tools leave where they mount their own. */
static bool is_missing(const Node *node)
{
	return !node || (S_ISREG(node->inode->mode) && node->inode->size == 0);
}

static int add_network_files(Layer *layer, Tree *tree, Disk *disk, Error **err)
{
	static const char target[] = "/run/ember/resolv.conf";
	const Node *resolv = look(tree, "etc", "resolv.conf");

	if (!resolv || !S_ISLNK(resolv->inode->mode)) {
		Inode *link = add(layer, tree, "etc/resolv.conf", S_IFLNK | 0777);

		link->target = xstrdup(target);
		link->size = sizeof(target) - 1;
	}
	if (is_missing(look(tree, "etc", "hosts")))
		return add_text(layer, tree, disk, "etc/hosts", hosts, err);
	return 0;
}

int seed_tree(Tree *tree, Disk *disk, const SeedOptions *options, Error **err)
{
	auto_layer Layer layer = { .number = options->layer_number };

	add_mount_points(&layer, tree);
	add(&layer, tree, "usr/lib/ember", S_IFDIR | 0755);
	if (add_text(&layer, tree, disk, "usr/lib/ember/image.json", options->run_document, err) <
		    0 ||
	    add_network_files(&layer, tree, disk, err) < 0)
		return -1;
	if (options->guest_fd >= 0 && add_program(&layer, tree, disk, "usr/lib/ember/ember-guest",
						  options->guest_fd, err) < 0)
		return -1;
	if (disk_flush(disk, err) < 0 || merge_layer(tree, &layer, err) < 0) {
		error_wrap(err, "add ember's files to the image");
		return error_hint(err,
				  "the image has something else in their place: see --no-seed");
	}
	return 0;
}

static bool is_program(Tree *tree, const char *path)
{
	const Node *node = walk_to_file(tree, path);

	return node && S_ISREG(node->inode->mode) && (node->inode->mode & 0111);
}

bool seed_has_init(Tree *tree)
{
	if (is_program(tree, "sbin/init") || is_program(tree, "lib/systemd/systemd"))
		return true;
	return walk_to_file(tree, "etc/inittab") && is_program(tree, "bin/busybox");
}

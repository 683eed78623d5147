/*
 * Who a program runs as, from the image's /etc/passwd and /etc/group. Read by ourselves: a static
 * libc cannot load the image's NSS modules, and the image may lack any of it.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define USER_GROUPS_MAX 64

typedef struct User {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX]; /* the primary group is among them */
	size_t group_count;
	char name[64];	/* the number where the user has no name */
	char home[256]; /* "/" where it is unknown */
} User;

/*
 * `spec` is `user[:group]`, each a name or a number. A number needs no entry. Without a group: the
 * user's own (0 for an unknown number) and all that list the user; with one: that one alone.
 * `root` is "" or a directory that stands for /. False when a name is unknown.
 */
bool user_find(const char *root, const char *spec, User *out_user);

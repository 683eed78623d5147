/*
 * ACLs in text (acl.h) become attributes when the image is complete, since they name users and groups: what these names
 * mean, the image's own /etc/passwd and /etc/group say.
 */
#pragma once

#include "image/disk.h"
#include "image/tree.h"
#include "util/error.h"

/* An ACL with a name that the image does not know is left out, its file then gives no more than the ACL did, and
 * on_warning (may be NULL) hears of it. */
int acl_settle(Tree *tree, Disk *disk, void (*on_warning)(const char *message), Error **err);

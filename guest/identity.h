/*
 * Who this machine is: host name and machine id. A fork begins with the disk of another VM, so they
 * are written whenever the VM's id differs from the one that the disk was last used with. A VM that
 * was renamed has the same id and another name: it becomes its host name, unless the guest has
 * chosen one of its own meanwhile.
 */
#pragma once

#include <stdbool.h>

/* Letters, digits, '-' and '.', at most 63 of them: what is safe in /etc/hosts and sethostname(2).
 */
bool identity_is_hostname(const char *text);

/* A UUID with dashes, lower or upper case. */
bool identity_is_id(const char *text);

/*
 * Below `root` ("" for /): write etc/hostname, etc/hosts, etc/machine-id and last the stamps
 * var/lib/ember/name and var/lib/ember/id; with root "" also tell the kernel. NULL leaves a part as
 * it is. 0, or -1 with errno.
 */
int identity_apply(const char *root, const char *hostname, const char *id);

/* Is the stamp of `root` another than `id`? */
bool identity_is_stale(const char *root, const char *id);

/* The VM is called `hostname` now: if that is news to `root`, which has the name that it was stamped
 * with, it takes the new one. Stamps it either way. 0, or -1 with errno. */
int identity_follow(const char *root, const char *hostname);

/* At boot: apply the identity of the kernel command line when the disk carries another. */
void identity_boot(const char *cmdline);

/*
 * The kernel's filesystems.
 */
#pragma once

/* What the agent and every init can count on: /proc, /sys, /dev with its links, /run. */
void mounts_base(void);

/* What an init of the image would mount, for images without one: devpts, shm, cgroup2, /tmp. */
void mounts_full(void);

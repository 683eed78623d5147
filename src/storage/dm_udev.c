#include "storage/dm_udev.h"

#include <errno.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <time.h>

#include "util/fs.h"
#include "util/os.h"

/* As libdevmapper.h has them: the upper half of a cookie are flags, the lower one makes the key. */
#define COOKIE_MAGIC 0x0d4dU
#define COOKIE_SHIFT 16
/* No links, no looking for RAIDs, volume groups, filesystems in it; and that it was us who changed it. */
#define COOKIE_FLAGS  (0x0001U | 0x0002U | 0x0004U | 0x0008U | 0x0040U)
#define COOKIE_TRIES  16
#define WAIT_SECONDS  5
#define UDEV_IS_THERE "/run/udev/control"

void dm_udev_begin(DmUdev *out_udev)
{
	*out_udev = DM_UDEV_NONE;
	if (!fs_exists(UDEV_IS_THERE))
		return;
	for (int i = 0; i < COOKIE_TRIES; i++) {
		uint16_t base = 0;
		int semaphore;

		os_random(&base, sizeof(base));
		semaphore = semget((key_t)(COOKIE_MAGIC << COOKIE_SHIFT | base), 1,
				   0600 | IPC_CREAT | IPC_EXCL);
		if (base == 0 || semaphore < 0)
			continue;
		(void)semctl(semaphore, 0, SETVAL, 1);
		out_udev->semaphore = semaphore;
		out_udev->cookie = COOKIE_FLAGS << COOKIE_SHIFT | base;
		return;
	}
}

void dm_udev_end(DmUdev *udev, bool has_told)
{
	struct sembuf wait_for_zero = { .sem_num = 0, .sem_op = 0 };
	struct timespec patience = { .tv_sec = WAIT_SECONDS };

	if (udev->semaphore < 0)
		return;
	/* Should udev be slow, it is only late: what we need, the kernel has made. */
	if (has_told)
		(void)semtimedop(udev->semaphore, &wait_for_zero, 1, &patience);
	(void)semctl(udev->semaphore, 0, IPC_RMID);
	*udev = DM_UDEV_NONE;
}

# What the tests in the test host share: an installation in a store of $HOST_STORAGE, VMs that are never
# started, and marks on their disks. The words are those of tests/cli/lib.bash.
# shellcheck shell=bash

export EMBER_TEST_CACHE=/tmp
load ../cli/lib

export EMBER_STATE_DIR=/tmp/state-${HOST_STORAGE:?zfs, dm-thin, btrfs, xfs or reflink}
# shellcheck disable=SC2034 # for the files that load this
HOST_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WITH_DISK=$EMBER_BUILD/tests/host/with-disk
# Where the tests mark a disk: behind the filesystem of the image, before the end of the smallest disk.
MARK_AT=$((112 << 20))

# A fresh installation with one image.
new_store() {
	local file=/tmp/image.raw

	rm -rf "$EMBER_STATE_DIR"
	ember init --storage "$HOST_STORAGE" --size 1G
	if [ ! -e "$file" ]; then
		mkdir -p /tmp/image/etc /tmp/image/sbin
		cp /bin/busybox /tmp/image/sbin/init
		mke2fs -q -t ext4 -d /tmp/image "$file" 8M
	fi
	ember image import base "$file"
}

drop_store() {
	ember vm delete --force --all >/dev/null || true
	ember image delete base >/dev/null
	ember deinit --purge
	[ ! -e "$EMBER_STATE_DIR" ]
	equal "$(world)" ""
}

# make VM [WORD]: a VM that is never started; with a mark.
make() {
	ember vm create "$1" --image base --memory 256M --disk-size 128M --no-start >/dev/null
	[ $# -eq 1 ] || mark "$1" "$2"
}

volume_of() {
	ember vm inspect "$1" --format json | jq -r ".volume // .id"
}

# The volume of a snapshot is named by its id.
volume_of_snapshot() {
	jq -r .id "$EMBER_STATE_DIR/vms/$1/snapshots/$2/snapshot.json"
}

mark_volume() {
	printf '%-4096s' "$2" >"$BATS_TEST_TMPDIR/mark"
	"$WITH_DISK" "$1" sh -c "dd if='$BATS_TEST_TMPDIR/mark' of=\"\$DISK\" bs=4096 seek=$((MARK_AT / 4096)) conv=notrunc,fsync status=none"
}

read_mark() {
	"$WITH_DISK" "$1" sh -c "dd if=\"\$DISK\" bs=4096 skip=$((MARK_AT / 4096)) count=1 status=none" | tr -d '\0 '
}

mark() {
	mark_volume "$(volume_of "$1")" "$2"
}

# marked VM WORD: that is what its disk holds, and the filesystem of the image before it is whole.
marked() {
	equal "$(read_mark "$(volume_of "$1")")" "$2"
	# shellcheck disable=SC2016 # for the shell with the disk
	"$WITH_DISK" "$(volume_of "$1")" sh -c 'e2fsck -fn "$DISK" >/dev/null 2>&1'
}

# What a store takes of its host: at the end all of it is given back.
world() {
	losetup -a
	grep -F "$EMBER_STATE_DIR" /proc/mounts || true
	dmsetup ls 2>/dev/null | grep -v '^No devices' || true
	zpool list -H -o name 2>/dev/null || true
}

# Nothing is left to be mended, and nothing was.
clean() {
	expect 0 ember reconcile --format json
	expect 0 ember reconcile --dry-run --format json
	# shellcheck disable=SC2154 # set by expect
	equal "$(jq -c .actions <<<"$output")" '[]'
}

# A power cut at any flush of the disk on which an installation of $HOST_STORAGE lies: what a command said to be done is
# there, every VM is whole or absent. dm-log-writes notes each write to that disk, replay.py makes what the cuts leave.
load host

export EMBER_STATE_DIR=/tmp/power/state

POWER_CUTS=${POWER_CUTS:-10}

teardown_file() {
	"$HOST_DIR/let-go" /tmp/power || true
	umount /tmp/power 2>/dev/null || true
	dmsetup remove logged 2>/dev/null || true
	losetup -lnO NAME,BACK-FILE | awk 'index($2, "/tmp/power.") { print $1 }' | xargs -r -n 1 losetup -d
	rm -f /tmp/power.*
}

# The disk is a file; what it holds when logging begins is where the replay begins.
make_logged() {
	local disk log

	mkdir -p /tmp/power
	truncate -s 4G /tmp/power.disk
	truncate -s 8G /tmp/power.log
	mkfs.xfs -q -m reflink=1 /tmp/power.disk
	mount -o loop /tmp/power.disk /tmp/power
	new_store
	"$HOST_DIR/let-go" /tmp/power
	umount /tmp/power
	sync /tmp/power.disk
	cp --reflink=always /tmp/power.disk /tmp/power.replay
	disk=$(losetup --find --show /tmp/power.disk)
	log=$(losetup --find --show /tmp/power.log)
	dmsetup create logged --table "0 $(blockdev --getsz "$disk") log-writes $disk $log"
	echo "$log" >/tmp/power.device
	mount -t xfs /dev/mapper/logged /tmp/power
}

# noted WORD COMMAND...: what the command did is durable when it says so; nothing else syncs.
noted() {
	"${@:2}"
	dmsetup message logged 0 mark "$1"
}

@test "a VM is made, forked, changed, snapped, restored, deleted" {
	make_logged
	noted created make web one
	noted forked ember vm fork web copy --no-start
	noted snapped ember snapshot create web before
	noted changed mark web two
	noted restored ember snapshot restore web before
	noted deleted ember vm delete copy
	"$HOST_DIR/let-go" /tmp/power
}

@test "after a cut anywhere in this, everything is whole or absent" {
	umount /tmp/power
	dmsetup message logged 0 mark end
	dmsetup remove logged
	"$HOST_DIR/replay.py" "$(cat /tmp/power.device)" /tmp/power.replay "$POWER_CUTS" "$HOST_DIR/after-cut"
}

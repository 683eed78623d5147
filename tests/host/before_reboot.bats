# Installations that a reboot without a shutdown is to hit; after_reboot.bats looks what became of them.
load host

store() {
	export EMBER_STATE_DIR=/tmp/state-$1 HOST_STORAGE=$1
	new_store
	make web kept
	ember vm fork web copy --no-start
	mark copy other
	ember snapshot create web before
}

@test "zfs: a store in use when the power goes" {
	store zfs
}

@test "dm-thin: a store in use when the power goes" {
	store dm-thin
}

@test "btrfs: a store in use when the power goes" {
	store btrfs
}

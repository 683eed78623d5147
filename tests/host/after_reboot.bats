# What before_reboot.bats made is there again when somebody asks for it, and only then.
load host

# back STORAGE: the first command that needs the store brings it up.
back() {
	export EMBER_STATE_DIR=/tmp/state-$1 HOST_STORAGE=$1
	expect 0 ember vm list
	contains "$output" web copy
	marked web kept
	marked copy other
	ember vm fork web@before third --no-start
	marked third kept
	ember snapshot restore web before
	clean
	ember vm delete web copy third
	drop_store
}

@test "nothing is imported, activated or mounted before somebody asks" {
	equal "$(world)" ""
}

@test "zfs: imported again" {
	back zfs
}

@test "dm-thin: activated again" {
	back dm-thin
}

@test "btrfs: mounted again" {
	back btrfs
}

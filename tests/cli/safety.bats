# What ember must never do: touch what is not its own, or take one thing for another.
load lib

setup_file() {
	new_state
	ember vm create orig --image busybox "${SMALL[@]}" --no-start
}

teardown_file() {
	drop_state
}

@test "init touches nothing in a directory that ember did not make" {
	local home=$EMBER_TEST_CACHE/fs/home

	mkdir -p "$home/images/holiday" "$home/tmp"
	chmod 700 "$home"
	echo beach >"$home/images/holiday/photo"
	expect 4 ember -s "$home" init
	explains "is not ember's" "hint: "
	expect 0 ember -s "$home" deinit --purge
	[ "$(cat "$home/images/holiday/photo")" = beach ]
	[ ! -e "$home/config.json" ]
	rm -r "$home"
}

@test "init refuses a directory that others may write to" {
	local open=$EMBER_TEST_CACHE/fs/open

	mkdir "$open"
	chmod 777 "$open"
	expect 5 ember -s "$open" init
	explains "others may write" "hint: "
	rm -r "$open"
}

@test "a copied record is broken, and deleting it harms nobody" {
	cp -a "$EMBER_STATE_DIR/vms/orig" "$EMBER_STATE_DIR/vms/copy"
	[ "$(ember vm list --format json | jq -r '.[] | select(.name == "copy").status')" = broken ]
	expect 1 ember vm delete copy
	explains "the record is that of 'orig'" "hint: "
	expect 0 ember vm delete --force copy
	[ -e "$(field orig .disk_path)" ]
	expect 0 ember reconcile
	[ -e "$(field orig .disk_path)" ]
}

@test "deinit waits for commands that are under way" {
	exec 8<"$EMBER_STATE_DIR/locks/store-use.lock"
	flock -s 8
	ember -s "$EMBER_STATE_DIR" vm list >/dev/null
	expect 4 ember deinit
	explains "busy" "hint: "
	exec 8<&-
}

@test "a command of an installation that went away says so" {
	expect 3 ember -s "$EMBER_TEST_CACHE/fs/never" vm start orig
	explains "not initialized" "ember init"
	[ ! -e "$EMBER_TEST_CACHE/fs/never" ]
}

@test "an init that fails unmakes its store" {
	[ "$EUID" = 0 ] || skip "mounting a store needs root"
	local state=$EMBER_TEST_CACHE/fs/failed

	EMBER_FAIL_AT=init.config expect 1 ember -s "$state" init --storage btrfs --size 1G
	run ! grep -q "$state" /proc/self/mounts
	[ ! -e "$state/store.img" ]
	expect 0 ember -s "$state" init --storage btrfs --size 1G
	expect 0 ember -s "$state" deinit --purge
	[ ! -e "$state" ]
}

@test "text that no record can hold is refused" {
	for flag in --label --env; do
		expect 2 ember vm create odd --image busybox --no-start "$flag" $'a=\xff'
		explains "UTF-8" "hint: "
	done
	expect 2 ember vm create odd --image busybox --no-start --boot-args $'\xff'
	expect 3 ember vm inspect odd
}

@test "a start that was cut off is not taken for a VM that stopped" {
	ember vm create half --image busybox "${SMALL[@]}" --no-start
	EMBER_KILL_AT=vm.start.record expect 137 ember vm start half
	expect 4 ember vm wait half --for stopped --timeout 10
	explains "cut off" "ember reconcile"
	expect 0 ember reconcile
	[ "$(field half .status)" = created ]
	expect 0 ember vm delete half
}

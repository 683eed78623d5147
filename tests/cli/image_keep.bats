# Keeping house: image rename, prune and delete, and what VMs see of it.
load lib

setup_file() {
	new_state
	# So that a prune leaves what other files of this kind need.
	ember vm create keeps-debian --image debian "${SMALL[@]}" --no-start
	ember vm create keeps-busybox --image busybox "${SMALL[@]}" --no-start
	skopeo copy --quiet "oci:$OCI/busybox:latest" "oci-archive:$BATS_FILE_TMPDIR/box.tar" 3>&-
}

teardown_file() {
	drop_state
}

teardown() {
	assert_no_leftovers
}

fetch() {
	ember image pull "oci-archive:$BATS_FILE_TMPDIR/box.tar" --name "$1"
}

@test "rename: the image has the new name, VMs of it go on and show it" {
	local before

	fetch old
	before=$(ember image inspect old --format json | jq -S 'del(.local_name)')
	ember vm create of-old --image old "${SMALL[@]}" --wait
	expect 0 ember image rename old new
	contains "$output" "renamed to 'new'"
	expect 3 ember image inspect old
	equal "$(ember image inspect new --format json | jq -S 'del(.local_name)')" "$before"
	equal "$(field of-old .image)" new
	expect 0 ember vm list
	contains "$(grep of-old <<<"$output")" new
	equal "$(ember exec of-old -- echo up)" up
	ember vm stop --force of-old
	ember vm fork of-old of-fork
	equal "$(field of-fork .image)" new
	expect 0 ember vm create of-new --image new "${SMALL[@]}" --no-start
	expect 4 ember image delete new
	explains of-old of-fork of-new
	ember vm delete --force of-old of-fork of-new
	expect 0 ember image rename new newer --format json
	json '.local_name == "newer" and (has("former_name") | not)'
	ember image delete newer
}

@test "what a VM runs is known of a renamed image, and of one that another took the place of" {
	local moving=$BATS_FILE_TMPDIR/moving archive=$BATS_TEST_TMPDIR/vm.tar way

	cp -r "$OCI/busybox" "$moving"
	ember image pull "oci:$moving:latest" --name first
	ember vm create of-first --image first "${SMALL[@]}" --no-start
	for way in rename refresh; do
		if [ "$way" = rename ]; then
			ember image rename first second
		else
			move_layout "$moving"
			ember image pull "oci:$moving:latest" --name second --refresh
		fi
		expect 0 ember vm commit of-first committed --format json
		json '.config.cmd == ["/bin/sh"] and .arch != null'
		ember image delete committed
		ember vm export of-first "$archive" --force
		equal "$(skopeo inspect --config "oci-archive:$archive" | jq -c .config.Cmd)" '["/bin/sh"]'
	done
	ember vm delete of-first
	ember image delete second
}

@test "delete is refused for the fork of a fork, too" {
	fetch grand
	ember vm create parent --image grand "${SMALL[@]}" --no-start
	ember vm fork parent child --no-start
	ember vm fork child grandchild --no-start
	ember vm delete parent child
	expect 4 ember image delete grand
	explains grandchild
	expect 0 ember image prune
	expect 0 ember image inspect grand
	ember vm delete grandchild
	ember image delete grand
}

@test "rename: names that are taken, wrong or missing" {
	fetch one
	expect 4 ember image rename one busybox
	explains "already exists"
	expect 4 ember image rename one one
	explains "already exists"
	expect 3 ember image rename nosuch two
	explains "nosuch"
	expect 2 ember image rename one 'No/Such'
	explains "No/Such"
	ember image delete one
}

@test "two renames against each other: one wins, the image is there once" {
	local first second

	fetch one
	fetch two
	ember image rename one three >"$BATS_TEST_TMPDIR/1" 2>&1 &
	first=$!
	ember image rename two three >"$BATS_TEST_TMPDIR/2" 2>&1 &
	second=$!
	waited "$first"
	first=$status
	waited "$second"
	equal "$((first + status))" 4
	expect 0 ember image list --format json
	json '[.images[].local_name | select(. == "one" or . == "two" or . == "three")] | length == 2'
	ember image delete three
	ember image delete one 2>/dev/null || ember image delete two
}

@test "prune removes what no VM needs, and says how much came free" {
	local disk bytes

	fetch unused
	disk=$(ember image inspect unused --format json | jq -r .disk_path)
	bytes=$(du -sB1 "$EMBER_STATE_DIR/blobs/sha256" | cut -f 1)
	expect 0 ember image prune --dry-run
	contains "$output" "Would remove 1 image" unused "Would remove 3 blobs"
	[ -e "$disk" ]
	expect 0 ember image prune --blobs --format json
	json '.images == [] and .blobs == 3 and .freed_bytes == .blob_bytes'
	[ "$(jq .blob_bytes <<<"$output")" -le "$bytes" ]
	[ -e "$disk" ]
	bytes=$(($(stat -c %b "$disk") * 512))
	expect 0 ember image prune --format json
	json ".images == [\"unused\"] and .blobs == 0 and .freed_bytes == $bytes and .dry_run == false"
	[ ! -e "$disk" ]
	expect 0 ember image prune
	contains "$output" "Nothing to remove"
	# What VMs were made from is still there.
	expect 0 ember image inspect busybox
	expect 0 ember image inspect debian
}

@test "prune asks on a terminal, and only there" {
	fetch unused
	run bash -c 'echo n | TERM=dumb script -qec "\"$1\" image prune" /dev/null 3>&-' - "$EMBER"
	contains "$output" "Would remove 1 image" "[y/N]" "Nothing was removed"
	ember image inspect unused >/dev/null
	run bash -c 'echo y | TERM=dumb script -qec "\"$1\" image prune" /dev/null 3>&-' - "$EMBER"
	contains "$output" "[y/N]" "Removed 1 image"
	expect 3 ember image inspect unused
	fetch unused
	run bash -c 'TERM=dumb script -qec "\"$1\" image prune --yes" /dev/null </dev/null 3>&-' - "$EMBER"
	contains "$output" "Removed 1 image"
	[[ $output != *y/N* ]]
}

@test "an image that somebody copies from is kept by prune" {
	fetch busy
	exec 8>"$EMBER_STATE_DIR/locks/image-busy.lock"
	flock -s 8
	expect 0 ember image prune
	exec 8>&-
	expect 0 ember image inspect busy
	ember image delete busy
}

@test "an image that is removed just when a VM is to be made of it is pulled again" {
	local reference=oci-archive:$BATS_FILE_TMPDIR/box.tar name create

	expect 0 ember image pull "$reference" --format json
	name=$(jq -r .local_name <<<"$output")
	exec 8>"$EMBER_STATE_DIR/locks/image-$name.lock"
	flock -x 8
	"$EMBER" vm create late --image "$reference" --pull "${SMALL[@]}" --no-start 3>&- 8>&- &
	create=$!
	until_true 3 is_waiting "image-$name" "$create"
	rm "$(ember image inspect "$name" --format json | jq -r .disk_path)"
	rm -r "$EMBER_STATE_DIR/images/$name"
	exec 8>&-
	waited "$create"
	equal "$status" 0
	expect 0 ember image inspect "$name"
	ember vm delete late
	ember image delete "$name"
}

@test "the shell completes images to rename" {
	expect 0 ember __complete -- image rename bus
	contains "$output" busybox
}

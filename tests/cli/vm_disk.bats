# The disk of a VM that does not run: as an image, and as a file.
load lib

setup_file() {
	export FILES=$BATS_FILE_TMPDIR/files

	new_state
	mkdir "$FILES"
	# One that was shut down, and one whose plug was pulled while it wrote.
	ember vm create calm --image busybox "${SMALL[@]}" --disk-size 512M --wait --env FROM_VM=yes --user user
	ember exec --user root calm -- sh -c 'echo kept >/root/kept; sync'
	ember vm stop calm
	ember vm fork calm torn
	ember vm wait torn --for ready
	ember exec --user root torn -- sh -c 'echo torn >/root/torn; mkdir /root/d; sync'
	ember vm stop --force torn
	ember vm create running --image busybox "${SMALL[@]}" --wait
}

teardown_file() {
	drop_state
}

teardown() {
	! mountpoint -q "$BATS_TEST_TMPDIR/tiny" || umount "$BATS_TEST_TMPDIR/tiny"
	assert_no_leftovers
}

# "yes" for a filesystem that was not unmounted.
needs_recovery() {
	if dumpe2fs -h "$1" 2>/dev/null | grep -q needs_recovery; then echo yes; else echo no; fi
}

disk_of() {
	field "$1" .disk_path
}

@test "vm commit: an image in no time, and VMs from it that are themselves" {
	local disk

	expect 0 ember vm commit calm committed --format json
	json '.local_name == "committed" and .reference == "local:committed" and .digest == null'
	json '.config.env | index("FROM_VM=yes") != null and index("FROM_IMAGE=yes") != null'
	json '.config.user == "user" and .config.cmd == ["/bin/sh"]'
	disk=$(jq -r .disk_path <<<"$output")
	equal "$(stat -c %a "$disk")" 444
	run e2fsck -fn "$disk"
	[ "$status" -eq 0 ]
	boot child committed
	expect 0 ember exec --user root child -- sh -c 'cat /root/kept; hostname; echo $FROM_VM; id -un'
	equal "$output" $'kept\nchild\nyes\nroot'
	expect 0 ember exec child -- id -un
	equal "$output" user
	[ "$(field child .id)" != "$(field calm .id)" ]
	expect 4 ember image delete committed
	ember vm delete --force child
	ember image delete committed
}

@test "a VM from a committed image has at least its disk" {
	ember vm create roomy --image busybox "${SMALL[@]}" --disk-size 12G --no-start
	expect 0 ember vm commit roomy roomy --format json
	json '.size_bytes == 12884901888'
	ember vm create larger --image roomy "${SMALL[@]}" --no-start
	equal "$(field larger .disk_size_mib)" 12288
	expect 2 ember vm create smaller --image roomy "${SMALL[@]}" --disk-size 8G --no-start
	explains "--disk-size 12288M"
	ember vm commit calm small
	ember vm create usual --image small "${SMALL[@]}" --no-start
	equal "$(field usual .disk_size_mib)" 8192
	ember vm delete roomy larger usual
	ember image delete roomy small
}

@test "vm commit --replace: also of the image that the VM was made from" {
	local id

	ember vm commit calm base
	id=$(ember image inspect base --format json | jq -r .id)
	ember vm create heir --image base "${SMALL[@]}" --wait
	ember exec heir --user root -- sh -c 'echo newer >/root/kept; sync'
	ember vm stop heir
	expect 0 ember vm commit heir base --replace
	[ "$(ember image inspect base --format json | jq -r .id)" != "$id" ]
	equal "$(debugfs -R 'cat /root/kept' "$(ember image inspect base --format json | jq -r .disk_path)" 2>/dev/null)" newer
	expect 0 ember vm start heir
	ember vm wait heir --for ready
	equal "$(ember exec heir --user root -- cat /root/kept)" newer
	ember vm delete --force heir
	ember image delete base
	# Nothing to replace is no error.
	expect 0 ember vm commit calm base --replace
	ember image delete base
}

@test "vm commit shares the blocks of the disk" {
	local disk

	ember exec running -- sh -c 'dd if=/dev/urandom of=/tmp/big bs=1M count=64; sync' 2>/dev/null
	ember vm stop running
	ember vm commit running big
	disk=$(ember image inspect big --format json | jq -r .disk_path)
	# Nothing of 64 MiB was copied: all its extents are shared.
	run filefrag -v "$disk"
	contains "$output" shared
	[ "$(grep -E '^ +[0-9]+:' <<<"$output" | grep -vc shared)" -le 4 ]
	ember image delete big
	ember vm start running
}

@test "vm commit of a VM whose plug was pulled: the image is at rest, the VM as it was" {
	local disk before

	before=$(sha256sum <"$(disk_of torn)")
	equal "$(needs_recovery "$(disk_of torn)")" yes
	expect 0 ember vm commit torn recovered --format json
	disk=$(jq -r .disk_path <<<"$output")
	equal "$(needs_recovery "$disk")" no
	run e2fsck -fn "$disk"
	[ "$status" -eq 0 ]
	run debugfs -R 'cat /root/torn' "$disk"
	contains "$output" torn
	equal "$(sha256sum <"$(disk_of torn)")" "$before"
	ember image delete recovered
}

@test "vm commit: what is refused" {
	expect 4 ember vm commit running nope
	explains "is running" "ember vm stop running"
	expect 4 ember vm commit calm busybox
	explains "already exists" "--replace"
	expect 3 ember vm commit nosuch nope
	explains "nosuch"
	expect 2 ember vm commit calm 'UPPER'
	expect 2 ember vm commit calm
	expect 3 ember image inspect nope
}

@test "vm export: a raw disk, sparse and clean" {
	expect 0 ember vm export calm "$FILES/calm.raw"
	contains "$output" "VM 'calm' exported to" raw "512 MiB"
	equal "$(stat -c %s "$FILES/calm.raw")" "$(stat -c %s "$(disk_of calm)")"
	[ "$(du -k "$FILES/calm.raw" | cut -f 1)" -lt 100000 ]
	cmp "$FILES/calm.raw" "$(disk_of calm)"
	equal "$(stat -c %a "$FILES/calm.raw")" "$(printf '%o' $((0666 & ~$(umask))))"
	(umask 077 && ember vm export calm "$FILES/private.img")
	equal "$(stat -c %a "$FILES/private.img")" 600
}

@test "vm export: holes stay, also where files cannot be cloned" {
	local dir

	dir=$(mktemp -d -p /dev/shm)
	expect 0 ember vm export calm "$dir/calm.raw" --format json
	json '.vm == "calm" and .format == "raw" and .status == "exported" and .size_bytes == 536870912'
	cmp "$dir/calm.raw" "$(disk_of calm)"
	[ "$(du -k "$dir/calm.raw" | cut -f 1)" -lt 100000 ]
	rm -r "$dir"
}

@test "vm export: qcow2, compressed or not, has the same bytes" {
	local words

	for words in "" --compress; do
		# shellcheck disable=SC2086 # none, or one word
		expect 0 ember vm export calm "$FILES/calm.qcow2" --force $words
		qemu-img check -q "$FILES/calm.qcow2"
		qemu-img compare -q -f qcow2 -F raw "$FILES/calm.qcow2" "$(disk_of calm)"
	done
	[ "$(stat -c %s "$FILES/calm.qcow2")" -lt 5000000 ]
}

@test "vm export of a VM whose plug was pulled: clean, and the VM as it was" {
	local before

	before=$(sha256sum <"$(disk_of torn)")
	expect 0 ember vm export torn "$FILES/torn.raw"
	equal "$(needs_recovery "$FILES/torn.raw")" no
	run e2fsck -fn "$FILES/torn.raw"
	[ "$status" -eq 0 ]
	expect 0 ember vm export torn "$FILES/torn.qcow2"
	equal "$(sha256sum <"$(disk_of torn)")" "$before"
}

@test "a disk that the guest's kernel has marked as damaged is repaired in what leaves" {
	ember vm fork calm marked --no-start
	debugfs -w -R 'set_super_value state 3' "$(disk_of marked)" 2>/dev/null
	expect 0 ember vm export marked "$FILES/marked.tar"
	expect 0 ember vm commit marked mended --format json
	contains "$(dumpe2fs -h "$(jq -r .disk_path <<<"$output")" 2>/dev/null | grep 'state:')" clean
	contains "$(dumpe2fs -h "$(disk_of marked)" 2>/dev/null | grep 'state:')" errors
	ember image delete mended
	ember vm delete marked
}

@test "vm export: what is refused, before anything is written" {
	local file=$FILES/refused

	expect 4 ember vm export running "$file"
	explains "is running" "ember vm stop running"
	expect 3 ember vm export nosuch "$file"
	expect 2 ember vm export calm "$file" --as vmdk
	expect 2 ember vm export calm "$file" --as raw --compress
	explains "--compress" "qcow2"
	expect 2 ember vm export calm - --as raw
	explains "standard output"
	expect 3 ember vm export calm "$FILES/no/such/dir.raw"
	explains "mkdir -p"
	expect 4 ember vm export calm "$FILES" --as raw
	explains "directory"
	expect 4 ember vm export calm /dev/null --as raw --force
	explains "regular"
	[ ! -e "$file" ]
	echo mine >"$file.raw"
	expect 4 ember vm export calm "$file.raw"
	explains "exists already" "--force"
	equal "$(cat "$file.raw")" mine
	expect 0 ember vm export calm "$file.raw" --force
	cmp "$file.raw" "$(disk_of calm)"
}

@test "vm export: a full disk is said, and leaves nothing" {
	local tiny=$BATS_TEST_TMPDIR/tiny as

	[ "$(id -u)" -eq 0 ] || skip "this is about mounting"
	mkdir "$tiny"
	mount -t tmpfs -o size=1m none "$tiny"
	for as in raw qcow2; do
		run --separate-stderr ember vm export calm "$tiny/file" --as "$as"
		refused
		contains "$stderr" "No space left on device"
		equal "$(ls -A "$tiny")" ""
	done
}

@test "vm export: Ctrl-C leaves nothing" {
	local dir=$FILES/interrupted

	mkdir "$dir"
	ended_by_ctrl_c qemu-img vm export torn "$dir/file.qcow2"
	equal "$(ls -A "$dir")" ""
	assert_no_leftovers
}

@test "vm export: a kill leaves nothing beside the file, and reconcile does the rest" {
	local dir=$FILES/killed step

	mkdir "$dir"
	for step in image.export.write image.out.commit image.rest.recover; do
		run env EMBER_KILL_AT="$step" "$EMBER" vm export torn "$dir/file.raw" 3>&-
		[ "$status" -ne 0 ]
		equal "$(ls -A "$dir")" ""
		ember reconcile
		assert_no_leftovers
	done
}

# A qcow2 store: no filesystem that clones, and where that is the point, no privileges.
# (`run` of bats uses the variable i.)
load qcow2

setup_file() {
	new_qcow2_state "$EMBER_TEST_CACHE/qcow2"
	ember vm create one --image busybox "${SMALL[@]}" --disk-size 512M --wait
	ember exec one -- sh -c 'echo one >/root/mark; sync'
	ember vm stop one
}

teardown_file() {
	until_true 10 no_optimizer
	drop_state
}

teardown() {
	! mountpoint -q "$BATS_TEST_TMPDIR/tiny" || umount "$BATS_TEST_TMPDIR/tiny"
	until_true 10 no_optimizer
	assert_no_leftovers
	assert_good_files
}

volumes() {
	find "$EMBER_STATE_DIR/store" -name '*.raw' -o -name '*.qcow2' | wc -l
}

@test "init says what it is, and the images of another store are adopted" {
	expect 0 ember info
	contains "$output" qcow2
	expect 0 ember image list --format json
	json '.images | map(.local_name) | index("busybox") != null'
	expect 2 ember -s "$BATS_TEST_TMPDIR/none" init --storage qcow2 --size 4G
	explains "qcow2 storage takes no --size"
	expect 0 ember doctor --format json
	json '.checks // . | map(select(.name == "storage"))[0] | .result == "ok" and (.finding | contains("qcow2"))'
	expect 0 ember reconcile
	contains "$output" "Nothing to mend"
}

@test "forks of forks: each knows what it should, and any may go first" {
	local n before last=one

	before=$(volumes)
	for n in 1 2 3 4 5 6; do
		expect 0 ember vm fork "$last" "f$n"
		ember exec --wait 60 "f$n" -- sh -c "echo $n >/root/mark$n; sync"
		ember vm stop "f$n"
		last=f$n
	done
	until_true 30 no_optimizer
	ember vm fork f6 f7
	expect 0 ember exec --wait 60 f7 -- sh -c 'cat /root/mark*; ls /root | wc -l'
	equal "$output" $'one\n1\n2\n3\n4\n5\n6\n7'
	# The source goes on as if nothing were.
	ember vm start f3
	expect 0 ember exec --wait 60 f3 -- sh -c 'cat /root/mark*; echo late >/root/late; sync'
	equal "$output" $'one\n1\n2\n3'
	assert_good_files
	for n in 3 1 6 5 2; do
		ember vm delete --force "f$n"
		assert_no_leftovers
	done
	expect 0 ember exec f7 -- sh -c 'cat /root/mark* | wc -l; test ! -e /root/late'
	equal "$output" 7
	ember vm delete --force f7 f4
	# `one` stands on what it was when it was forked.
	equal "$(volumes)" $((before + 1))
}

@test "a fork of what nobody wrote to stands on the image" {
	ember vm create fresh --image busybox --no-start
	ember vm fork fresh twin --no-start
	equal "$(depth fresh)" 2
	equal "$(depth twin)" 2
	ember vm delete fresh
	ember vm start twin
	ember exec --wait 60 twin -- true
	ember vm delete --force twin
}

@test "an image outlives its name as long as a VM needs it" {
	expect 4 ember image delete busybox
	ember vm commit one base
	ember vm create child --image base --no-start
	ember vm commit child child-image
	ember vm delete child
	ember image delete base
	ember vm create child --image child-image --wait
	expect 0 ember exec child -- cat /root/mark
	equal "$output" one
	ember vm delete --force child
	ember image delete child-image
}

@test "vm commit and vm export of one whose plug was pulled" {
	local disk=$BATS_TEST_TMPDIR/disk.raw

	ember vm fork one torn
	ember exec --wait 60 torn -- sh -c 'echo torn >/root/torn; mkdir /root/d; sync'
	ember vm stop --force torn
	until_true 10 no_optimizer
	expect 0 ember vm commit torn made --format json
	json '.disk_path | endswith(".qcow2")'
	equal "$(stat -c %a "$(jq -r .disk_path <<<"$output")")" 444
	# It shares all but what the journal held.
	expect 0 ember storage usage --format json
	json '.images.made.exclusive < 4000000'
	expect 0 ember image export made "$disk"
	run e2fsck -fn "$disk"
	[ "$status" -eq 0 ]
	equal "$(dumpe2fs -h "$disk" 2>/dev/null | grep needs_recovery)" ""
	ember vm create child --image made --wait
	expect 0 ember exec child -- cat /root/mark /root/torn
	equal "$output" $'one\ntorn'
	# What is exported was at rest, and the VM's own disk is as it was left.
	rm "$disk"
	expect 0 ember vm export torn "$disk"
	run e2fsck -fn "$disk"
	[ "$status" -eq 0 ]
	expect 0 ember vm export torn "$BATS_TEST_TMPDIR/torn.qcow2"
	# Each copy plays its own journal, and e2fsck writes down when that was.
	qemu-img convert -O raw "$BATS_TEST_TMPDIR/torn.qcow2" "$BATS_TEST_TMPDIR/again.raw"
	equal "$(stat -c %s "$BATS_TEST_TMPDIR/again.raw")" "$(stat -c %s "$disk")"
	[ "$( (cmp -l "$disk" "$BATS_TEST_TMPDIR/again.raw" || true) | wc -l)" -lt 500 ]
	rm "$BATS_TEST_TMPDIR/again.raw"
	expect 0 ember vm export torn "$BATS_TEST_TMPDIR/torn.tar"
	expect 0 ember image export made "$BATS_TEST_TMPDIR/made.tar"
	tar -tf "$BATS_TEST_TMPDIR/made.tar" | grep -q index.json
	ember vm delete --force child torn
	ember image delete made
}

@test "a raw copy of a disk is what QEMU reads, holes and all" {
	local disk=$BATS_TEST_TMPDIR/one.raw

	ember vm export one "$disk" --as raw
	qemu-img compare -q -f qcow2 -F raw "$(field one .disk_path)" "$disk"
	[ "$(stat -c %b "$disk")" -lt 200000 ]
}

@test "a larger disk, stopped and running" {
	ember vm fork one big
	expect 0 ember exec --wait 60 big -- sh -c 'stat -f -c %b / >/dev/null; echo before >/root/b; sync'
	expect 0 ember vm resize big --disk-size 1G
	expect 0 ember exec big -- sh -c 'df -m / | awk "END { print (\$2 > 900) }"; dd if=/dev/zero of=/root/fill bs=1M count=600 2>/dev/null && sync && echo full'
	equal "$output" $'1\nfull'
	ember vm stop big
	expect 0 ember vm resize big --disk-size 2G
	expect 2 ember vm resize big --disk-size 1G
	ember vm fork big larger --disk-size 3G
	expect 0 ember exec --wait 60 larger -- sh -c 'cat /root/b; df -m / | awk "END { print (\$2 > 2700) }"'
	equal "$output" $'before\n1'
	ember vm delete --force big larger
}

@test "who owns which bytes: vm list, storage usage, image prune" {
	ember vm fork one writer
	ember exec --wait 60 writer -- sh -c 'dd if=/dev/urandom of=/root/data bs=1M count=20 2>/dev/null; sync'
	ember vm stop writer
	expect 0 ember storage usage --format json
	json '.vms.writer.exclusive > 20000000 and .vms.writer.exclusive < 40000000'
	json '.vms.one.exclusive < 1000000'
	json '[.vms[], .images[]] | all(.exclusive <= .referenced)'
	ember vm fork writer heir --no-start
	expect 0 ember storage usage --format json
	json '.vms.writer.exclusive < 1000000 and .vms.writer.referenced > 20000000'
	ember vm delete writer
	expect 0 ember storage usage --format json
	json '.vms.heir.exclusive > 20000000'
	expect 0 ember vm list --format json
	json 'map(select(.name == "heir"))[0] | .used_bytes // .used | . > 20000000'
	ember vm delete heir
	expect 0 ember image prune --dry-run
}

@test "trim: what a guest deletes goes back to the host" {
	local before

	ember vm fork one messy
	ember exec --wait 60 messy -- sh -c 'dd if=/dev/urandom of=/root/data bs=1M count=40 2>/dev/null; sync; rm /root/data; sync'
	before=$(stat -c %b "$(field messy .disk_path)")
	expect 0 ember storage trim messy
	[ "$(stat -c %b "$(field messy .disk_path)")" -lt $((before - 60000)) ]
	# The overlay that a snapshot put on top gives back what was written since; the snapshot keeps what it has.
	ember snapshot create messy shot >/dev/null
	ember exec messy -- sh -c 'dd if=/dev/urandom of=/root/data bs=1M count=40 2>/dev/null; sync; rm /root/data; sync'
	before=$(stat -c %b "$(field messy .disk_path)")
	expect 0 ember storage trim messy
	[ "$(stat -c %b "$(field messy .disk_path)")" -lt $((before - 60000)) ]
	ember vm delete --force messy
}

@test "snapshots of a running VM: it goes on in an overlay, and each is what it was then" {
	local n

	ember vm fork one live
	ember exec --wait 60 live -- true
	for n in 1 2 3; do
		ember exec live -- sh -c "echo $n >/root/count; dd if=/dev/urandom of=/root/noise bs=1M count=4 2>/dev/null; sync"
		expect 0 ember snapshot create live "s$n" --format json
	done
	# More than its caches hold, onto the new overlay.
	ember exec live -- sh -c 'echo now >/root/count; dd if=/dev/urandom of=/root/noise bs=1M count=30 2>/dev/null; sync; md5sum /root/noise >/root/sum; sync'
	[ "$(depth live)" -ge 5 ]
	# A keeper that takes over knows where the disk is.
	kill -9 "$(pgrep -f "ember-keeper.*$EMBER_STATE_DIR/vms/live/")"
	expect 0 ember snapshot create live s4
	expect 0 ember vm resize live --disk-size 1G
	expect 0 ember exec live -- sh -c 'cat /root/count; md5sum -c /root/sum'
	contains "$output" now OK
	for n in 1 2 3; do
		ember vm fork "live@s$n" back
		expect 0 ember exec --wait 60 back -- cat /root/count
		equal "$output" "$n"
		ember vm delete --force back
	done
	ember vm stop live
	until_true 30 no_optimizer
	assert_good_files
	expect 0 ember snapshot restore live s2
	ember vm start live
	expect 0 ember exec --wait 60 live -- cat /root/count
	equal "$output" 2
	ember snapshot delete live s1
	ember snapshot delete live s3
	expect 0 ember exec live -- cat /root/count
	ember vm delete --force live
}

@test "fewer layers: after a stop by itself, and a start that comes meanwhile does not wait" {
	local n

	ember vm fork one deep
	for n in 1 2 3 4 5 6; do
		ember exec --wait 60 deep -- sh -c "echo $n >/root/deep$n; dd if=/dev/urandom of=/root/data$n bs=1M count=8 2>/dev/null; sync"
		ember vm stop deep
		ember vm fork deep "keep$n" --no-start
		# At once: whoever works on the disk ends.
		ember vm start deep
	done
	ember exec --wait 60 deep -- sync
	ember vm stop deep
	until_true 30 no_optimizer
	until_true 10 is_flat deep
	assert_good_files
	ember vm start deep
	expect 0 ember exec --wait 60 deep -- sh -c 'cat /root/deep*'
	equal "$output" $'1\n2\n3\n4\n5\n6'
	expect 4 ember storage optimize deep
	explains "vm 'deep' is running, expected created or stopped"
	expect 3 ember storage optimize nobody
	ember vm delete --force deep
	expect 0 ember storage optimize
	for n in 6 2 4; do
		ember vm start "keep$n"
		expect 0 ember exec --wait 60 "keep$n" -- sh -c 'ls /root/deep* | wc -l'
		equal "$output" "$n"
	done
	ember vm delete --force keep1 keep2 keep3 keep4 keep5 keep6
}

@test "without qemu-img only what needs it fails, and says which package has it" {
	local bin=$BATS_TEST_TMPDIR/bin program

	mkdir "$bin"
	for program in e2fsck qemu-system-x86_64; do
		ln -s "$(command -v "$program")" "$bin/"
	done
	expect 0 env PATH="$bin" "$EMBER" vm fork one bare
	ember vm stop --force bare
	expect 0 env PATH="$bin" "$EMBER" vm commit bare bare-image
	expect 0 env PATH="$bin" "$EMBER" vm export bare "$BATS_TEST_TMPDIR/bare.raw"
	expect 0 env PATH="$bin" "$EMBER" storage optimize
	expect 7 env PATH="$bin" "$EMBER" vm export bare "$BATS_TEST_TMPDIR/bare.qcow2"
	explains qemu-img "apt-get install qemu-utils"
	ember vm delete --force bare
	ember image delete bare-image
}

@test "a store that goes and comes back has all its images" {
	local state=$EMBER_TEST_CACHE/qcow2-again

	EMBER_STATE_DIR=$state
	new_qcow2_state "$state"
	ember vm create one --image busybox --no-start
	ember vm commit one made
	ember vm delete one
	expect 0 ember deinit
	expect 0 ember init --storage qcow2
	contains "$output" "in use again"
	expect 0 ember image list --format json
	json '.images | map(.local_name) | index("made") != null'
	ember vm create two --image made --no-start
	ember vm delete two
	expect 0 ember deinit --purge
	[ ! -e "$state/store" ]
	rm -rf "$state"
}

@test "volumes and layers that nobody knows are collected" {
	local store=$EMBER_STATE_DIR/store id=12345678-0000-4000-8000-000000000000

	ember vm fork one lost --no-start
	cp "$(field lost .disk_path)" "$store/$id.qcow2"
	qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k "$store/${id/1/2}.origin.qcow2" 1M
	truncate -s 512K "$store/${id/1/3}.next"
	expect 0 ember reconcile
	contains "$output" "$id" "${id/1/2}" "${id/1/3}"
	[ ! -e "$store/$id.qcow2" ]
	[ ! -e "$store/${id/1/2}.origin.qcow2" ]
	[ ! -e "$store/${id/1/3}.next" ]
	ember vm delete lost
}

@test "a host without room: an error in words, and nothing is lost" {
	[ "$(id -u)" -eq 0 ] || skip "needs to mount a small filesystem"
	local tiny=$BATS_TEST_TMPDIR/tiny outer=$EMBER_STATE_DIR

	mkdir "$tiny"
	truncate -s 160M "$tiny.img"
	mkfs.ext4 -q -m 0 "$tiny.img"
	mount -o loop "$tiny.img" "$tiny"
	mkdir -m 700 "$tiny/state"
	fallocate -l 1M "$tiny/spare"
	# shellcheck disable=SC2030 # the outer one is wanted again
	(
		export EMBER_STATE_DIR=$tiny/state
		ember init --storage qcow2 >/dev/null
		cp -r "$outer/kernels" "$EMBER_STATE_DIR/"
		sed -i "s|$outer/|$EMBER_STATE_DIR/|g" "$EMBER_STATE_DIR"/kernels/*/kernel.json
		ember image pull "oci:$OCI/busybox:latest" --name busybox
		ember vm create full --image busybox "${SMALL[@]}" --disk-size 1G --wait
		ember exec full -- sh -c 'echo safe >/root/safe; sync'
		timeout 20 "$EMBER" exec full -- sh -c 'cat /dev/urandom >/root/fill; sync' 3>&- || true
		rm "$tiny/spare"
		ember vm stop --force full
		fallocate -l "$(df --output=avail -B1 "$tiny" | tail -1)" "$tiny/ballast" || true
		expect 1 ember vm fork full other --no-start
		explains "No space left"
		expect 0 ember reconcile
		assert_no_leftovers
		assert_good_files
		rm "$tiny/ballast"
		ember vm fork full other
		expect 0 ember exec --wait 60 other -- cat /root/safe
		equal "$output" safe
		ember vm delete --force full other
		ember deinit --purge
	)
	umount "$tiny"
}

@test "a user without privileges on any filesystem: all of it" {
	[ "$(id -u)" -eq 0 ] || skip "this is about becoming another user"
	local home=$EMBER_TEST_CACHE/rootless-qcow2
	local as=(setpriv --reuid 65534 --regid 65534 --clear-groups env -u XDG_RUNTIME_DIR
		HOME="$home" EMBER_STATE_DIR="$home/state" EMBER_LIBEXEC_DIR="$EMBER_BUILD" TMPDIR="$home/tmp")

	mkdir -p "$home/tmp"
	if cp --reflink=always "$EMBER" "$home/clone" 2>/dev/null; then
		rm -rf "$home"
		skip "the cache is on a filesystem that clones files"
	fi
	rm -f "$home/clone"
	chown -R 65534:65534 "$home"
	if ! "${as[@]}" test -x "$EMBER"; then
		mkdir "$home/programs"
		cp "$EMBER_BUILD"/ember* "$home/programs/" 2>/dev/null || true
		chmod -R a+rX "$home/programs"
		as+=(EMBER_LIBEXEC_DIR="$home/programs" "$home/programs/ember")
	else
		as+=("$EMBER")
	fi
	cp -r "$OCI/busybox" "$home/oci"
	chmod -R a+rX "$home/oci"
	expect 0 "${as[@]}" init 3>&-
	contains "$output" "qcow2 (overlays on images" "reflink: " "does not clone files" "btrfs: only root"
	expect 0 "${as[@]}" image pull "oci:$home/oci:latest" --name busybox 3>&-
	cp -r "$EMBER_TEST_CACHE/fs/base/kernels" "$home/state/"
	chown -R 65534:65534 "$home/state/kernels"
	expect 0 "${as[@]}" vm create mine --image busybox --memory 256M --wait 3>&-
	expect 0 "${as[@]}" exec mine -- sh -c 'echo hello >/root/hello; sync' 3>&-
	expect 0 "${as[@]}" vm stop mine 3>&-
	expect 0 "${as[@]}" vm fork mine two 3>&-
	expect 0 "${as[@]}" exec --wait 60 two -- cat /root/hello 3>&-
	equal "$output" hello
	expect 0 "${as[@]}" vm resize two --disk-size 9G 3>&-
	expect 0 "${as[@]}" vm stop --force two 3>&-
	expect 0 "${as[@]}" vm commit two made 3>&-
	expect 0 "${as[@]}" vm delete mine two 3>&-
	expect 0 "${as[@]}" vm create three --image made --memory 256M --wait 3>&-
	expect 0 "${as[@]}" exec three -- cat /root/hello 3>&-
	equal "$output" hello
	expect 0 "${as[@]}" vm delete --force three 3>&-
	expect 0 "${as[@]}" image delete made 3>&-
	equal "$(find "$home/state/store" -name '*.qcow2')" ""
	expect 0 "${as[@]}" deinit --purge 3>&-
	rm -rf "$home"
}

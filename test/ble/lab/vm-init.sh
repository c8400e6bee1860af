#!/bin/busybox sh
# The first process of the virtual machine: loads modules, puts the host's files (read only) under a layer in memory,
# runs the job there and switches the machine off.
export PATH=/bin
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module" || echo "no module $module"; done </modules/order
$b stty -F /dev/ttyS1 raw -opost 2>/dev/null
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,ro,cache=loose host /lower || $b poweroff -f
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none job /job || $b poweroff -f
$b mount -t tmpfs -o size=60% layer /layer
$b mkdir /layer/upper /layer/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work root /root
for folder in proc sys dev; do
  $b mkdir -p /root/$folder
  $b mount --move /$folder /root/$folder
done
$b mkdir -p /root/run /root/mnt/job /root/dev/pts /root/dev/shm
$b mount -t tmpfs run /root/run
$b mount -t devpts pts /root/dev/pts
$b mount -t tmpfs shm /root/dev/shm
$b mount --move /job /root/mnt/job
$b ln -sf /proc/self/fd /root/dev/fd
$b ln -sf fd/0 /root/dev/stdin
$b ln -sf fd/1 /root/dev/stdout
$b ln -sf fd/2 /root/dev/stderr
$b ip link set lo up
$b chroot /root /bin/bash /mnt/job/run </root/dev/null >/root/dev/ttyS1 2>&1
echo $? >/root/mnt/job/exit
$b sync
$b poweroff -f

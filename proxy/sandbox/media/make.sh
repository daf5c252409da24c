#!/bin/sh
# Generate the sandbox's media files. Run in this folder, with ffmpeg (5.1 was used, with libx264 and aac).
# They are two sizes of a 12 s video, and a 12 s loop that the live channels repeat.
set -eu

hls="-f hls -hls_time 2 -hls_playlist_type vod -hls_flags independent_segments"
video="-c:v libx264 -preset veryslow -profile:v main -pix_fmt yuv420p -r 25 -g 50 -keyint_min 50 -sc_threshold 0"
audio="-c:a aac -ac 1 -ar 44100 -b:a 48k"

encode() { # name, picture, bits per second, tone in Hz
  mkdir -p "$1"
  ffmpeg -v error -y -f lavfi -i "$2" -f lavfi -i "sine=frequency=$4:beep_factor=4" -t 12 \
    $video -b:v "$3" -maxrate "$3" -bufsize "$3" $audio $hls -hls_segment_filename "$1/%d.ts" "$1/made.m3u8"
  rm "$1/made.m3u8"
}

encode vod_180 "testsrc2=size=320x180:rate=25" 100k 330
encode vod_360 "testsrc2=size=640x360:rate=25" 200k 330
encode live_180 "smptehdbars=size=320x180:rate=25,drawbox=x='mod(t*40,320)':y=120:w=24:h=24:color=white:t=fill" 60k 220

# The small video again as fragmented MP4, with the initialization section in a separate file.
mkdir -p fmp4_180
cat vod_180/0.ts vod_180/1.ts vod_180/2.ts vod_180/3.ts vod_180/4.ts vod_180/5.ts |
  ffmpeg -v error -y -f mpegts -i - -c copy -bsf:a aac_adtstoasc $hls -hls_segment_type fmp4 \
    -hls_fmp4_init_filename init.mp4 -hls_segment_filename "fmp4_180/%d.m4s" fmp4_180/made.m3u8
rm fmp4_180/made.m3u8

# Both sizes again as a single MP4 file each, for progressive playback.
for size in 180 360; do
  cat vod_$size/0.ts vod_$size/1.ts vod_$size/2.ts vod_$size/3.ts vod_$size/4.ts vod_$size/5.ts |
    ffmpeg -v error -y -f mpegts -i - -c copy -bsf:a aac_adtstoasc -movflags +faststart file_$size.mp4
done

<?php
// A reader for parsers_client.py: json_decode to arrays, and to objects. The format is told in read.py.
function tagged($value) {
    if ($value === null) return ["null"];
    if (is_bool($value)) return ["bool", $value];
    if (is_int($value) || is_float($value)) return ["num", bin2hex(pack("E", (float) $value))];
    if (is_string($value)) return ["str", base64_encode($value)];
    // An array has forgotten whether it was an object; one that could be a list is one here.
    if (is_array($value) && array_is_list($value)) return ["arr", array_map("tagged", $value)];
    $read = [];
    foreach ($value as $key => $one) $read[base64_encode((string) $key)] = tagged($one);
    return ["obj", (object) $read];
}

function decoded($body, $as_array) {
    try {
        return tagged(json_decode($body, $as_array, 512, JSON_THROW_ON_ERROR));
    } catch (JsonException $refused) {
        return ["error"];
    }
}

function form($body) {
    // It warns where it reads no further.
    @parse_str($body, $names);
    $read = [];
    foreach ($names as $name => $value) {
        $values = [];
        $value = [$value];
        array_walk_recursive($value, function ($one) use (&$values) { $values[] = base64_encode($one); });
        $read[base64_encode((string) $name)] = $values;
    }
    return (object) $read;
}

while (($line = fgets(STDIN)) !== false) {
    $body = base64_decode($line);
    if (in_array("form", $argv)) {
        echo json_encode(["php" => form($body)]), "\n";
        continue;
    }
    $read = ["php arrays" => decoded($body, true), "php objects" => decoded($body, false)];
    echo json_encode($read, 0, 4096), "\n";
}

# Scores rows. Needs PowerShell 5.1 or newer, and TWINML_URL and TWINML_KEY in the environment.
$ErrorActionPreference = 'Stop'
$rows = @(
    [ordered]@{
        'age' = 56
        'job' = 'admin.'
        'marital' = 'divorced'
        'education' = 'primary'
        'default' = 'no'
        'balance' = 47054
        'housing' = 'no'
        'loan' = 'no'
        'contact' = 'cellular'
        'day' = 16
        'month' = 'apr'
        'duration' = 2459
        'campaign' = 32
        'pdays' = 435
        'previous' = 137
        'poutcome' = 'failure'
    }
    [ordered]@{
        'age' = 48
        'job' = 'blue-collar'
        'marital' = 'married'
        'education' = 'secondary'
        'default' = 'yes'
        'balance' = 36039
        'housing' = 'yes'
        'loan' = 'yes'
        'contact' = 'telephone'
        'day' = 13
        'month' = 'aug'
        'duration' = 1967
        'campaign' = 25
        'pdays' = 347
        'previous' = 110
        'poutcome' = 'other'
    }
)
$body = @{
    input_data = @{
        columns = @($rows[0].Keys)
        data    = @($rows | ForEach-Object { , @($_.Values) })
    }
}
$json = [Text.Encoding]::UTF8.GetBytes((ConvertTo-Json $body -Depth 5))
$reply = Invoke-RestMethod -Uri $env:TWINML_URL -Method Post -Body $json -TimeoutSec 60 `
    -ContentType 'application/json' -Headers @{ Authorization = "Bearer $env:TWINML_KEY" }
ConvertTo-Json @($reply) -Compress

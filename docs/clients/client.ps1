# Scores rows. Needs PowerShell 5.1 or newer, and TWINML_URL and TWINML_KEY in the environment.
$ErrorActionPreference = 'Stop'
$rows = @(
    [ordered]@{
        'age' = 58
        'job' = 'management'
        'marital' = 'married'
        'education' = 'tertiary'
        'default' = 'no'
        'balance' = 2143
        'housing' = 'yes'
        'loan' = 'no'
        'contact' = 'unknown'
        'day' = 5
        'month' = 'may'
        'duration' = 261
        'campaign' = 1
        'pdays' = -1
        'previous' = 0
        'poutcome' = 'unknown'
    }
    [ordered]@{
        'age' = 59
        'job' = 'admin.'
        'marital' = 'married'
        'education' = 'secondary'
        'default' = 'no'
        'balance' = 2343
        'housing' = 'yes'
        'loan' = 'no'
        'contact' = 'unknown'
        'day' = 5
        'month' = 'may'
        'duration' = 1042
        'campaign' = 1
        'pdays' = -1
        'previous' = 0
        'poutcome' = 'unknown'
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
